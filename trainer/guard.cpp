#include "trainer/guard.h"

#include <ATen/TensorOperators.h>

#include <span>
#include <string>

#include "base/error.h"
#include "trainer/optimizer.h"

namespace cfm::trainer {

at::Tensor finite_or_nan(double weight, const at::Tensor& loss) { return loss.detach() * 0 + weight; }

double agreed_gradient_norm(const std::vector<at::Tensor>& gradients, const parallel::MpiSession& session) {
  double norm = session.rank() == 0 ? gradient_norm(gradients) : 0;
  session.control().broadcast(std::as_writable_bytes(std::span(&norm, 1)));
  return norm;
}

void refuse_lost_run(bool lost, const std::string& run_dir, int64_t step, parallel::FailureLog& failures) {
  if (!lost) return;
  failures.leave();
  throw SharedError(
      "the run in " + run_dir + " has been taken over by another job: this one ends behind step " +
      std::to_string(step) +
      " without writing. It was taken for dead: if it was only slow to show life, raise --lease_seconds.");
}

void refuse_endless_skipping(int64_t skipped, int64_t max_skipped, int64_t step) {
  if (skipped < max_skipped) return;
  throw SharedError("step " + std::to_string(step) + ": the gradient was not finite for " + std::to_string(skipped) +
                    " steps in a row (--max_skipped). The last checkpoint is good; lower --lr, set --clip_norm, or "
                    "train with --precision=fp32");
}

}  // namespace cfm::trainer
