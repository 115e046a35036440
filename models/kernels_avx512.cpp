#include "models/kernels_body.h"

namespace cfm::models {

const Kernels& avx512_kernels() {
  static constexpr Kernels table = kernels_of("avx512");
  return table;
}

}  // namespace cfm::models
