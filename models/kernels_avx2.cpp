#include "models/kernels_body.h"

namespace cfm::models {

const Kernels& avx2_kernels() {
  static constexpr Kernels table = kernels_of("avx2");
  return table;
}

}  // namespace cfm::models
