#include "flow/pixels.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/philox.h"
#include "support/flow_tensors.h"

namespace cfm::flow {
namespace {

at::Tensor all_bytes() { return at::arange(256, at::kByte).view({1, 1, 16, 16}); }

template <typename T>
std::vector<T> hard_offsets() {
  std::vector<T> offsets{0, std::numeric_limits<T>::denorm_min(), T(1e-8), T(1) / 3, T(0.5), T(0.999)};
  T just_below_one = 1;
  for (int i = 0; i < 40; ++i) offsets.push_back(just_below_one = std::nextafter(just_below_one, T(0)));
  for (int bits = 2; bits < std::numeric_limits<T>::digits; ++bits) offsets.push_back(1 - std::ldexp(T(1), -bits));
  return offsets;
}

template <typename T>
void expect_round_trips(at::ScalarType type) {
  for (const T u : hard_offsets<T>()) {
    const at::Tensor y = to_model_space(all_bytes(), at::full({1, 1, 16, 16}, u, type));
    ASSERT_EQ(y.scalar_type(), type);
    EXPECT_TRUE(to_bytes(y).equal(all_bytes())) << "u = 1 - " << 1 - u;
    EXPECT_GE(y.min().item<double>(), -1);
    EXPECT_LT(y.max().item<double>(), 1);
  }
}

TEST(Pixels, EveryByteRoundTripsForEveryOffset) {
  expect_round_trips<float>(at::kFloat);
  expect_round_trips<double>(at::kDouble);
}

TEST(Pixels, EveryByteRoundTripsForAMillionDrawnOffsets) {
  std::vector<float> u(256 * 4096);
  fill_uniform(u, {5, Purpose::kDequantise, 0});
  const at::Tensor bytes = all_bytes().expand({4096, 1, 16, 16});
  EXPECT_TRUE(to_bytes(to_model_space(bytes, at::tensor(u, at::kFloat).view({4096, 1, 16, 16}))).equal(bytes));
}

// By hand: what guided-diffusion and EDM write as `((y + 1) * 127.5).clamp(0, 255)` and `(127.5 * y + 128).clip(0,
// 255)`, then cut to uint8.
TEST(Pixels, BecomeBytesAsOthersMakeThemIfAsked) {
  const at::Tensor y = at::tensor({-1.5, -1.0, -0.992, 0.0, 0.25, 0.999, 1.0, 1.5}, at::kDouble).view({1, 1, 2, 4});
  const std::map<std::string, std::vector<int>> bytes{{"uniform", {0, 0, 1, 128, 160, 255, 255, 255}},
                                                      {"adm", {0, 0, 1, 127, 159, 254, 255, 255}},
                                                      {"edm", {0, 0, 1, 128, 159, 255, 255, 255}}};
  for (const auto& [name, expected] : bytes)
    EXPECT_TRUE(to_bytes(y, quantisation(name)).flatten().equal(at::tensor(expected, at::kByte))) << name;
  try {
    quantisation("nearest");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(std::string(e.what()), "--quantise=nearest: expected one of uniform, adm, edm.");
  }
}

TEST(Pixels, TheMapIsTheDocumentedFormula) {
  for (const double u : {0.0, 0.25, 0.7, 0.999}) {
    const at::Tensor y = to_model_space(all_bytes(), at::full({1, 1, 16, 16}, u, at::kFloat)).flatten();
    for (int64_t x = 0; x < 256; ++x) {
      ASSERT_NEAR(y[x].item<double>(), (static_cast<double>(x) + u) / 128 - 1, 1.3e-7);
    }
  }
}

TEST(Pixels, ValuesBeyondTheRangeAreClamped) {
  const at::Tensor y = at::tensor(std::vector<float>{-3, -1.001F, -1, -0.0001F, 0, 0.9999F, 1, 42}).view({1, 1, 2, 4});
  const std::vector<int64_t> expected{0, 0, 0, 127, 128, 255, 255, 255};
  EXPECT_TRUE(to_bytes(y).flatten().to(at::kLong).equal(at::tensor(expected)));
}

TEST(Pixels, RefusesWrongTypesAndShapes) {
  const at::Tensor u = at::full({1, 1, 16, 16}, 0.5, at::kFloat);
  EXPECT_THROW(to_model_space(all_bytes().to(at::kFloat), u), Error);
  EXPECT_THROW(to_model_space(all_bytes(), u.to(at::kBFloat16)), Error);
  EXPECT_THROW(to_model_space(all_bytes(), u.narrow(3, 0, 1)), Error);
}

}  // namespace
}  // namespace cfm::flow
