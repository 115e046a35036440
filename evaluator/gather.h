#pragma once
#include <ATen/core/Tensor.h>

#include "data/read_plan.h"
#include "parallel/mpi_session.h"

namespace cfm::evaluator {

// float32 [n,d] of every rank (undefined: no rows), one rank behind the other, at rank 0; undefined elsewhere, and
// where there are none at all. Collective.
at::Tensor gather_rows(const at::Tensor& mine, const parallel::MpiSession& session);

// uint8 [n,C,H,W] of every rank, one rank behind the other, at rank 0; undefined elsewhere. Collective.
at::Tensor gather_images(const at::Tensor& mine, const parallel::MpiSession& session);

}  // namespace cfm::evaluator
