#include "models/kernels_body.h"

namespace cfm::models {

const Kernels& portable_kernels() {
  static constexpr Kernels table = kernels_of("portable");
  return table;
}

}  // namespace cfm::models
