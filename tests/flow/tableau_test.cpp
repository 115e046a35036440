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

TEST(Tableau, IsFoundByItsName) {
  EXPECT_THAT(solver_names(), ElementsAre("euler", "midpoint", "heun2", "rk4"));
  for (const std::string& name : solver_names()) EXPECT_EQ(tableau_named(name).name, name);
  EXPECT_EQ(&tableau_named("rk4"), &kRk4);
}

TEST(Tableau, AnUnknownNameIsRefusedWithTheNamesThatAre) {
  EXPECT_THAT([] { tableau_named("rk5"); }, testing::ThrowsMessage<Error>(AllOf(
                                                HasSubstr("--solver=rk5"), HasSubstr("euler, midpoint, heun2, rk4"))));
}

}  // namespace
}  // namespace cfm::flow
