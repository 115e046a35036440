#include "flow/divergence.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/autograd.h>

#include <cassert>
#include <memory>
#include <vector>

#include "base/philox.h"
#include "base/shape.h"

namespace cfm::flow {
namespace {

constexpr const char* kExact = "exact";

// The probes of the rows of a batch, made again where another sample has come into a row.
class RowProbes {
 public:
  explicit RowProbes(const DivergenceConfig& config) : config_(config) {}

  // [B,...] each, as x: the probes of these images' rows.
  const std::vector<at::Tensor>& of(std::span<const int64_t> images, const at::Tensor& x) {
    const bool other_shape = probes_.empty() || probes_[0].sizes() != x.sizes();
    if (other_shape) {
      images_.assign(images.size(), -1);
      probes_.assign(static_cast<size_t>(config_.probes), {});
      for (at::Tensor& probe : probes_) probe = at::zeros_like(x);
    }
    for (size_t row = 0; row < images.size(); ++row) {
      if (images_[row] == images[row]) continue;
      images_[row] = images[row];
      for (int64_t p = 0; p < config_.probes; ++p) {
        const at::Tensor probe = probe_of(config_, images[row], p, x.sizes().slice(1));
        probes_[static_cast<size_t>(p)][static_cast<int64_t>(row)].copy_(probe);
      }
    }
    return probes_;
  }

 private:
  DivergenceConfig config_;
  std::vector<int64_t> images_;
  std::vector<at::Tensor> probes_;
};

// z^T (dv/dx) row by row, [B,...]; `last`: of this v, whose graph may go.
at::Tensor vector_jacobian(const at::Tensor& v, const at::Tensor& x, const at::Tensor& z, bool last) {
  const at::Tensor product =
      torch::autograd::grad({v}, {x}, {z}, /*retain_graph=*/!last, /*create_graph=*/false, /*allow_unused=*/true)[0];
  return product.defined() ? product : at::zeros_like(x);
}

at::Tensor row_sums(const at::Tensor& values) { return values.flatten(1).sum(1); }

at::Tensor exact_trace(const at::Tensor& v, const at::Tensor& x) {
  at::Tensor trace = at::zeros({x.size(0)}, x.options().dtype(at::kDouble));
  const int64_t dimensions = x.numel() / x.size(0);
  for (int64_t i = 0; i < dimensions; ++i) {
    at::Tensor unit = at::zeros(x.sizes(), x.options());
    unit.view({x.size(0), dimensions}).select(1, i).fill_(1);
    const at::Tensor row = vector_jacobian(v, x, unit, i + 1 == dimensions);
    trace.add_(row.reshape({x.size(0), dimensions}).select(1, i).to(at::kDouble));
  }
  return trace;
}

at::Tensor estimated_trace(const at::Tensor& v, const at::Tensor& x, const std::vector<at::Tensor>& probes) {
  at::Tensor trace = at::zeros({x.size(0)}, x.options().dtype(at::kDouble));
  for (const at::Tensor& z : probes) {
    const at::Tensor product = vector_jacobian(v, x, z, &z == &probes.back());
    trace.add_(row_sums(product.to(at::kDouble) * z.to(at::kDouble)));
  }
  return trace / static_cast<double>(probes.size());
}

}  // namespace

Problems DivergenceConfig::validate() const {
  Problems problems;
  if (divergence != "rademacher" && divergence != "gaussian" && divergence != kExact)
    problems.push_back("--divergence=" + divergence + ": expected rademacher, gaussian or exact.");
  if (probes < 1 || probes > kMostProbes)
    problems.push_back("--probes=" + std::to_string(probes) + ": expected 1 to " + std::to_string(kMostProbes) + ".");
  if (divergence == kExact && probes != 1)
    problems.push_back("--probes=" + std::to_string(probes) + ": the exact divergence has no probes; leave it out.");
  return problems;
}

at::Tensor probe_of(const DivergenceConfig& config, int64_t image, int64_t probe, at::IntArrayRef shape) {
  at::Tensor z = at::empty(shape, at::kFloat);
  const std::span<float> values(z.mutable_data_ptr<float>(), static_cast<size_t>(z.numel()));
  const Stream stream{config.seed, Purpose::kProbe,
                      static_cast<uint64_t>(image) * DivergenceConfig::kMostProbes + static_cast<uint64_t>(probe)};
  if (config.divergence == "gaussian") {
    fill_normal(values, stream);
    return z;
  }
  std::vector<uint32_t> bits((values.size() + 31) / 32);  // an entry a bit
  fill_bits(bits, stream);
  for (size_t i = 0; i < values.size(); ++i) values[i] = (bits[i / 32] >> (i % 32) & 1) != 0 ? 1 : -1;
  return z;
}

Field with_divergence(const SampleVelocity& velocity, const DivergenceConfig& config) {
  check_no_problems(config.validate());
  const auto probes = std::make_shared<RowProbes>(config);
  const auto at = [velocity, config, probes](const Points& points, bool wants_rate) -> Slope {
    std::vector<int64_t> images(points.samples.begin(), points.samples.end());
    for (int64_t& image : images) image /= config.samples_per_image;
    if (!wants_rate) return {velocity(points.x, points.t, images), {}};
    const at::AutoGradMode with_gradients(true);
    const at::Tensor x = points.x.detach().requires_grad_(true);
    const at::Tensor v = velocity(x, points.t, images);
    check_shape(v, x.sizes().vec(), "the velocity");
    if (!v.requires_grad()) return {v, at::zeros({x.size(0)}, points.x.options().dtype(at::kDouble))};
    return {v.detach(),
            config.divergence == kExact ? exact_trace(v, x) : estimated_trace(v, x, probes->of(images, points.x))};
  };
  return {at, /*has_rate=*/true};
}

}  // namespace cfm::flow
