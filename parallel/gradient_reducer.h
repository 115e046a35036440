#pragma once
// Gradients averaged over ranks while backward runs: c10d::Reducer, with the two things that make restarts bit-equal (a
// comm hook, so that the first step divides where all others do, and our backend's reduction in rank order).

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "parallel/process_group.h"

namespace cfm::parallel {

struct ReducerConfig {
  int64_t bucket_bytes = 25 << 20;
  int64_t first_bucket_bytes = 1 << 20;
};

// Protocol of a step with A micro-batches:
//   reducer.begin_step();
//   for a in 0..A-1: { forward; if (a == A-1) reducer.sync_next_backward(); loss.backward(); }
//   reducer.finish();                  // gradients are now the mean over ranks, the same bits on all
//   ... optimizer ...
//   reducer.zero_gradients();
// Gradients live in the reducer's buckets: never detach or replace p.grad.
class GradientReducer {
 public:
  // Collective. Parameters' memory format must be final. Broadcasts rank 0's parameters, and refuses (SharedError),
  // naming the parameter, if shapes or strides differ between ranks. Gradients are zero afterwards.
  GradientReducer(std::vector<std::pair<std::string, at::Tensor>> parameters, const ProcessGroup& group,
                  const ReducerConfig& config = {});
  ~GradientReducer();
  GradientReducer(const GradientReducer&) = delete;
  GradientReducer& operator=(const GradientReducer&) = delete;

  void begin_step();
  // `all_given` is called within that backward, when the last of the gradients has been given to the reduction: what
  // backward takes from then on it waits for others. On CUDA by a thread of autograd's.
  void sync_next_backward(std::function<void()> all_given = nullptr);
  void finish();
  void zero_gradients();
  // In the order of the parameters.
  std::vector<at::Tensor> gradients() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace cfm::parallel
