#pragma once
// Which noise goes with which image.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "flow/time_sampling.h"

namespace cfm::flow {

// independent: each sample its own. minibatch_ot: within each block of ot_block consecutive slots of the global batch
// (the last one may be shorter) x0 moves so that the sum of |x1 - x0|^2 is least; x1 and t keep their slots. A block
// knows no rank and no micro-batch. [arXiv:2302.00482, arXiv:2304.14772]
struct Coupling {
  std::string coupling = "independent";
  int64_t ot_block = 128;
  Problems validate() const;
};

// The blocks that hold `slots`, in order.
std::vector<StepSlots> blocks_of(const StepSlots& slots, int64_t ot_block);

// The exact assignment: x1's row i goes with x0's row result[i]. x0, x1: float32 [K,...] on the CPU. The same bits
// whatever the threads: sums are made in a fixed order.
std::vector<int64_t> minibatch_ot(const at::Tensor& x0, const at::Tensor& x1);

}  // namespace cfm::flow
