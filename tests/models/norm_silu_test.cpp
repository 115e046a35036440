#include "models/norm_silu.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "models/kernels.h"
#include "support/small_unet.h"

namespace cfm::models {
namespace {

using test::normal;

struct Case {
  std::vector<int64_t> shape;
  bool last;
  bool offset;
  bool scale_shift;
  bool dropout;
  at::ScalarType type;
};

struct Values {
  std::vector<at::Tensor> values;  // y and the gradients
};

Values run(const Case& c, bool fused) {
  const int64_t batch = c.shape[0], channels = c.shape[1];
  const at::ScalarType type = fused ? c.type : at::kDouble;
  // The same rounded input for both.
  at::Tensor x = (2 * normal(c.shape, 1) + 3).to(c.type).to(type);
  if (c.last) x = x.contiguous(at::MemoryFormat::ChannelsLast);
  const at::ScalarType rest = fused ? at::kFloat : at::kDouble;
  std::vector<at::Tensor> inputs{x.requires_grad_(), (normal({channels}, 2) + 1).to(rest).requires_grad_(),
                                 normal({channels}, 3).to(rest).requires_grad_()};
  at::Tensor offset, scale_shift;
  if (c.offset) inputs.push_back(offset = normal({batch, channels}, 4).to(rest).requires_grad_());
  if (c.scale_shift) inputs.push_back(scale_shift = normal({batch, 2 * channels}, 5).to(rest).requires_grad_());
  const Dropout dropout{0.3, {1, 2}, 3};
  at::Tensor y;
  if (fused) {
    y = norm_silu(inputs[0], inputs[1], inputs[2], offset, scale_shift,
                  c.dropout ? std::optional(dropout) : std::nullopt);
    EXPECT_EQ(y.scalar_type(), c.type);
    EXPECT_EQ(y.strides(), x.strides());
  } else {
    y = norm_silu_by_operations(inputs[0], inputs[1], inputs[2], offset, scale_shift);
    if (c.dropout) y = keyed_dropout(y, dropout.p, dropout.key, dropout.layer);
  }
  Values out{{y}};
  const at::Tensor up = normal(c.shape, 6).to(c.type).to(type);
  for (const at::Tensor& gradient : torch::autograd::grad({y}, inputs, {up})) out.values.push_back(gradient);
  return out;
}

TEST(NormSilu, FusedEqualsTheOperationsInFloat64) {
  for (const std::vector<int64_t>& shape : std::vector<std::vector<int64_t>>{
           {2, 32, 4, 4}, {3, 64, 5, 3}, {2, 96, 1, 1}, {1, 128, 16, 16}, {2, 288, 2, 2}}) {
    for (int bits = 0; bits < 32; ++bits) {
      const Case c{shape,           (bits & 1) != 0, (bits & 2) != 0,
                   (bits & 4) != 0, (bits & 8) != 0, (bits & 16) != 0 ? at::kBFloat16 : at::kFloat};
      if (shape[2] * shape[1] == 96 && c.type == at::kBFloat16) continue;  // three values a group: rounding dominates
      const Values fused = run(c, true), expected = run(c, false);
      const double tolerance = c.type == at::kFloat ? 2e-5 : 1.0 / 128;
      for (size_t i = 0; i < expected.values.size(); ++i) {
        const double largest = expected.values[i].abs().max().item<double>();
        const double error = (fused.values[i].to(at::kDouble) - expected.values[i]).abs().max().item<double>();
        EXPECT_LE(error, tolerance * largest + 1e-5)
            << "shape " << at::IntArrayRef(shape) << " bits " << bits << " value " << i;
      }
    }
  }
}

TEST(NormSilu, SecondDerivativesAreThoseOfTheOperations) {
  const auto second = [](bool fused) {
    const at::ScalarType type = fused ? at::kFloat : at::kDouble;
    const at::Tensor x = normal({2, 32, 2, 2}, 1).to(type).requires_grad_();
    const at::Tensor w = (normal({32}, 2) + 1).to(type).requires_grad_(), b = normal({32}, 3).to(type).requires_grad_();
    const at::Tensor y = fused ? norm_silu(x, w, b) : norm_silu_by_operations(x, w, b);
    const at::Tensor up = normal({2, 32, 2, 2}, 4).to(type);
    const at::Tensor first = torch::autograd::grad({y}, {x}, {up}, true, true)[0];
    return torch::autograd::grad({first.square().sum()}, {x})[0].to(at::kDouble);
  };
  const at::Tensor expected = second(false);
  EXPECT_LT((second(true) - expected).abs().max().item<double>(), 1e-3 * expected.abs().max().item<double>());
}

TEST(NormSilu, AllInstructionSetsAgree) {
  std::vector<const Kernels*> sets{&portable_kernels()};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) sets.push_back(&avx2_kernels());
  if (&kernels() == &avx512_kernels()) sets.push_back(&avx512_kernels());
#endif
  const at::Tensor x = normal({128}, 1), up = normal({128}, 2), w = at::ones({4}), b = at::zeros({4});
  at::Tensor first_y, first_dx;
  for (const Kernels* const set : sets) {
    for (const bool planar : {true, false}) {
      const at::Tensor in = planar ? x : x.view({4, 32}).t().contiguous().flatten();
      const at::Tensor d = planar ? up : up.view({4, 32}).t().contiguous().flatten();
      at::Tensor y = at::empty({128}), dx = at::empty({128}), scratch = at::empty({128}), sums = at::empty({12});
      at::Tensor statistics = at::empty({2});
      const NormUnit unit{1,       4,       32,      planar,  4, 1e-5F, w.data_ptr<float>(), b.data_ptr<float>(),
                          nullptr, nullptr, nullptr, nullptr, 1};
      auto* const mean = statistics.data_ptr<float>();
      set->norm_silu_float.forward(unit, in.data_ptr<float>(), y.data_ptr<float>(), mean, mean + 1);
      auto* const sum = sums.data_ptr<float>();
      set->norm_silu_float.backward(unit, in.data_ptr<float>(), d.data_ptr<float>(), mean, mean + 1,
                                    dx.data_ptr<float>(), {sum, sum + 4, sum + 8}, scratch.data_ptr<float>());
      if (!planar) {
        y = y.view({32, 4}).t().contiguous().flatten();
        dx = dx.view({32, 4}).t().contiguous().flatten();
      }
      if (!first_y.defined()) {
        first_y = y;
        first_dx = dx;
      }
      EXPECT_TRUE(y.allclose(first_y, 1e-5, 1e-6)) << set->instruction_set;
      EXPECT_TRUE(dx.allclose(first_dx, 1e-4, 1e-6)) << set->instruction_set;
    }
  }
}

TEST(NormSilu, ExtremeValuesAreThoseOfSilu) {
  // Weight 0 makes SiLU's argument the bias.
  const at::Tensor bias =
      at::tensor({-200.F, -100.F, -88.F, -50.F, -1.F, 0.F, 1.F, 50.F, 88.F, 100.F, 200.F}).repeat(3).narrow(0, 0, 32);
  const at::Tensor y = norm_silu(normal({1, 32, 2, 2}, 1), at::zeros({32}), bias.contiguous());
  const at::Tensor expected = at::silu(bias.to(at::kDouble)).view({1, 32, 1, 1}).expand({1, 32, 2, 2});
  EXPECT_TRUE(y.to(at::kDouble).allclose(expected, 1e-6, 1e-30));
}

TEST(NormSilu, NotANumberStaysSo) {
  at::Tensor x = normal({1, 64, 4, 4}, 1);
  x[0][3][0][0] = NAN;
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    const at::Tensor y = norm_silu(x.to(type), at::ones({64}), at::zeros({64}));
    EXPECT_TRUE(y[0].narrow(0, 2, 2).isnan().all().item<bool>());  // its group
    EXPECT_FALSE(y[0].narrow(0, 4, 60).isnan().any().item<bool>());
  }
}

}  // namespace
}  // namespace cfm::models
