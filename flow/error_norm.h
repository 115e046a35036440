#pragma once
// How large an error of the state is, against what is allowed: the state is x, and beside it the integral of a rate.

#include <ATen/core/Tensor.h>

#include <vector>

#include "flow/ode.h"

namespace cfm::flow {

// atol + rtol |value|: what an error of one is measured in.
struct ErrorScales {
  at::Tensor x, integral;  // [B,...]; float64 [B], undefined without an integral
};
ErrorScales error_scales(const OdeConfig& config, const at::Tensor& x, const at::Tensor& integral);

// Norms [B] of a value of the state: the larger of the root mean square over x and the size over the integral (of x
// alone with error_norm x), of the row itself or, with step_control batch, of all the `rows`. Not finite where the
// row's own parts are not, so that it is known whose fault it is: such a row has no part in the others' norm. Of no
// meaning for other rows.
std::vector<double> error_norms(const OdeConfig& config, const std::vector<bool>& rows, const ErrorScales& scales,
                                const at::Tensor& x, const at::Tensor& integral);

}  // namespace cfm::flow
