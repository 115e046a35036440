#pragma once
#include "evaluator/moments.h"

namespace cfm::evaluator {

// |mu_1 - mu_2|^2 + Tr(S_1 + S_2 - 2 (S_1 S_2)^(1/2)): the squared Frechet distance of two Gaussians
// [Dowson & Landau 1982; Heusel et al., arXiv:1706.08500 eq. 6]. The trace of the root is the sum of the roots of the
// eigenvalues of a symmetric matrix F^T S_2 F with S_1 = F F^T: F is the Cholesky factor or, where S_1 is singular, its
// eigenvectors times the roots of their eigenvalues; those that rounding alone makes positive are left out. float64.
double frechet_distance(const Gaussian& a, const Gaussian& b);

}  // namespace cfm::evaluator
