#pragma once
// What stands between a gradient and the weights, and between a run and its next step: the same decision on every rank.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "parallel/failure_log.h"
#include "parallel/mpi_session.h"

namespace cfm::trainer {

// `weight` where loss is finite, NaN where it is not: a non-finite loss then poisons the gradient on every rank, also
// where its own gradient would have been finite.
at::Tensor finite_or_nan(double weight, const at::Tensor& loss);

// The norm of rank 0's gradients, on every rank. The reduced gradients are the same bits everywhere, but the last bits
// of their norm follow threads and instruction set, and what it scales must not differ between ranks. Collective.
double agreed_gradient_norm(const std::vector<at::Tensor>& gradients, const parallel::MpiSession& session);

// Throws SharedError if `lost`: another job has the run now, and nothing more is written into it, `failures` included.
void refuse_lost_run(bool lost, const std::string& run_dir, int64_t step, parallel::FailureLog& failures);

// Throws SharedError once max_skipped updates in a row were skipped.
void refuse_endless_skipping(int64_t skipped, int64_t max_skipped, int64_t step);

}  // namespace cfm::trainer
