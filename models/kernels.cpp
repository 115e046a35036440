#include "models/kernels.h"

namespace cfm::models {

const Kernels& kernels() {
#if defined(__x86_64__)
  static const Kernels& best = []() -> const Kernels& {
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl")) {
      return avx512_kernels();
    }
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? avx2_kernels() : portable_kernels();
  }();
  return best;
#else
  return portable_kernels();
#endif
}

}  // namespace cfm::models
