#include "evaluator/precision_recall.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/kthvalue.h>

#include <algorithm>
#include <cassert>
#include <vector>

namespace cfm::evaluator {
namespace {

// Of a piece of the matrix of distances: with 2,048 features and 50,000 others it takes a second or two and 100 MB.
constexpr int64_t kRows = 256;

using Take = std::function<void(const at::Tensor& distances)>;
using BeforeEach = std::function<void()>;

// Squared distances of some rows to all of `others`.
at::Tensor squared_distances(const at::Tensor& rows, const at::Tensor& others, const at::Tensor& squares_of_others) {
  return (rows.square().sum(1, /*keepdim=*/true) + squares_of_others).sub_(rows.mm(others.t()), 2);
}

// take(squared distances of some rows of `from` to all of `others`), piece by piece.
void for_distances(const at::Tensor& from, const at::Tensor& others, const BeforeEach& before_each, const Take& take) {
  const at::Tensor squares = others.square().sum(1);
  for (int64_t first = 0; first < from.size(0); first += kRows) {
    if (before_each) before_each();
    take(squared_distances(from.narrow(0, first, std::min(kRows, from.size(0) - first)), others, squares));
  }
}

// Squared radius of each vector's neighbourhood: the (k + 1)-th smallest distance, its own 0 included.
at::Tensor radii(const at::Tensor& x, int64_t k, const BeforeEach& before_each) {
  std::vector<at::Tensor> pieces;
  for_distances(x, x, before_each,
                [&](const at::Tensor& distances) { pieces.push_back(std::get<0>(at::kthvalue(distances, k + 1, 1))); });
  return at::cat(pieces);
}

double share_within(const at::Tensor& x, const at::Tensor& centres, const at::Tensor& squared_radii,
                    const BeforeEach& before_each) {
  int64_t within = 0;
  for_distances(x, centres, before_each, [&](const at::Tensor& distances) {
    within += distances.le(squared_radii).any(1).sum().item<int64_t>();
  });
  return static_cast<double>(within) / static_cast<double>(x.size(0));
}

}  // namespace

PrecisionRecall precision_recall(const at::Tensor& samples, const at::Tensor& reference, int64_t k,
                                 const std::function<void()>& before_each) {
  assert(samples.size(0) > k && reference.size(0) > k);
  // Distances do not change with the origin; near the data the squares cancel least.
  const at::Tensor origin = reference.to(at::kDouble).mean(0);
  const at::Tensor x = samples.to(at::kDouble) - origin, y = reference.to(at::kDouble) - origin;
  return {share_within(x, y, radii(y, k, before_each), before_each),
          share_within(y, x, radii(x, k, before_each), before_each)};
}

}  // namespace cfm::evaluator
