#include "keeper/fed_time.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/item.h>
#include <ATen/ops/max.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <cmath>

#include "support/small_unet.h"

namespace cfm::keeper {
namespace {

// The embedding of guided-diffusion, a number at a time: cos(s f_i), then sin(s f_i), f_i = 10000^(-i/half). [8]
at::Tensor embedding(double s) {
  std::vector<double> values;
  for (int i = 0; i < 4; ++i) values.push_back(std::cos(s * std::pow(10000.0, -i / 4.0)));
  for (int i = 0; i < 4; ++i) values.push_back(std::sin(s * std::pow(10000.0, -i / 4.0)));
  return at::tensor(values, at::kDouble);
}

TEST(FedTime, OfATurnedLayerIsTimeScaleT) {
  const at::Tensor weight = test::normal({32, 8}, 3);
  for (const bool reversed : {false, true}) {
    for (const double shift : {0.0, -1.0, 7.5}) {
      const at::Tensor turned = fed_by_t(weight, 40, reversed, shift);
      EXPECT_EQ(turned.scalar_type(), at::kFloat);
      for (const double t : {0.0, 0.3, 1.0}) {
        const double fed = 40 * (reversed ? 1 - t : t) + shift;
        const at::Tensor theirs = weight.to(at::kDouble).matmul(embedding(fed));
        const at::Tensor ours = turned.to(at::kDouble).matmul(embedding(40 * t));
        EXPECT_LT((theirs - ours).abs().max().item<double>(), 2e-5) << reversed << " " << shift << " " << t;
      }
    }
  }
}

TEST(FedTime, LeavesALayerAloneThatIsFedTimeScaleTAlready) {
  const at::Tensor weight = test::normal({32, 8}, 3);
  EXPECT_TRUE(at::equal(fed_by_t(weight, 1000, false, 0), weight));
}

TEST(FedTime, IsSaidAsAFormula) {
  EXPECT_EQ(fed_time_text(1000, true, -1), "1000 (1 - t) - 1");
  EXPECT_EQ(fed_time_text(1, false, 0), "1 t");
  EXPECT_EQ(fed_time_text(1, false, 0.5), "1 t + 0.5");
}

}  // namespace
}  // namespace cfm::keeper
