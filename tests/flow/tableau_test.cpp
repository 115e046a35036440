#include "flow/tableau.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace cfm::flow {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// The check itself is checked: by a method of order 3, by what its order is not, and by each kind of mistake.
constexpr Tableau kKutta3{"kutta3", 3, 3, {{{}, {0.5}, {-1, 2}}}, {1. / 6, 2. / 3, 1. / 6}, {0, 0.5, 1}};
constexpr Tableau with_order(Tableau tableau, int order) {
  tableau.order = order;
  return tableau;
}
static_assert(is_consistent(kKutta3));
static_assert(!is_consistent(with_order(kKutta3, 4)));
static_assert(!is_consistent(with_order(kEuler, 2)));
static_assert(!is_consistent(with_order(kMidpoint, 3)) && !is_consistent(with_order(kHeun2, 3)));
static_assert(!is_consistent(Tableau{"b sums to 0.9", 1, 1, {}, {0.9}, {0}}));
static_assert(!is_consistent(Tableau{"a does not sum to c", 1, 2, {{{}, {0.5}}}, {1, 0}, {0, 0.4}}));
static_assert(!is_consistent(Tableau{"implicit", 1, 1, {{{0.5}}}, {1}, {0.5}}));
static_assert(!is_consistent(Tableau{"more weights than stages", 1, 1, {}, {0.5, 0.5}, {0, 0}}));
static_assert(!is_consistent(with_order(kRk4, 5)) && !is_consistent(with_order(kRk438, 5)));
// A single wrong digit of a coefficient of dp5 is found.
constexpr Tableau with_slip(Tableau tableau, size_t i, size_t j) {
  tableau.a[i][j] += 1e-9;
  return tableau;
}
static_assert(!is_consistent(with_slip(kDp5, 2, 1)) && !is_consistent(with_slip(kDp5, 5, 3)));
static_assert(!is_error_estimate(kDopri5, {}));                                  // of order 5: no estimate
static_assert(!is_error_estimate(kDopri5, {1. / 60, 0, 0, 0, 0, 0, -1. / 60}));  // sums to 0, and is of no order

// Dormand and Prince's own error weights (also scipy's RK45), from their paper; Shampine's are 2/3 of them.
TEST(Tableau, ErrorWeightsAreShampines) {
  const std::array<double, 7> textbook{71. / 57600, 0, -71. / 16695, 71. / 1920, -17253. / 339200, 22. / 525, -1. / 40};
  double sum = 0;
  for (size_t i = 0; i < 7; ++i) {
    EXPECT_NEAR(kDopri5Error[i], textbook[i] * 2 / 3, 1e-16) << i;
    sum += kDopri5Error[i];
  }
  EXPECT_NEAR(sum, 0, 1e-16);
}

TEST(Tableau, TheLastStageOfDopri5IsTheNextStepsFirst) {
  EXPECT_EQ(kDopri5.stages, 7U);
  EXPECT_EQ(kDopri5.a[6], kDopri5.b);
  EXPECT_EQ(kDopri5.c[6], 1);
  EXPECT_EQ(kDopri5.b[6], 0);
}

TEST(Tableau, IsFoundByItsName) {
  EXPECT_THAT(solver_names(), ElementsAre("euler", "midpoint", "heun2", "rk4", "rk4_38", "dp5"));
  for (const std::string& name : solver_names()) EXPECT_EQ(tableau_named(name).name, name);
  EXPECT_EQ(&tableau_named("rk4"), &kRk4);
}

TEST(Tableau, AnUnknownNameIsRefusedWithTheNamesThatAre) {
  EXPECT_THAT([] { tableau_named("rk5"); },
              testing::ThrowsMessage<Error>(
                  AllOf(HasSubstr("--solver=rk5"), HasSubstr("euler, midpoint, heun2, rk4, rk4_38, dp5"))));
}

}  // namespace
}  // namespace cfm::flow
