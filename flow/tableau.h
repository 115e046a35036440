#pragma once
// Explicit Runge-Kutta methods as data, checked by the compiler.

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace cfm::flow {

inline constexpr size_t kMaxStages = 7;

//   c_0 |
//   c_1 | a_10
//   c_2 | a_20 a_21
//   ----+---------------
//       | b_0  b_1  b_2
struct Tableau {
  std::string_view name;
  int order;
  size_t stages;
  std::array<std::array<double, kMaxStages>, kMaxStages> a;
  std::array<double, kMaxStages> b;
  std::array<double, kMaxStages> c;
};

// Each row of a sums to its c, b sums to 1, a is strictly lower triangular, and b satisfies the order conditions up to
// min(order, 4) -- sum b c = 1/2, sum b c^2 = 1/3, sum b a c = 1/6, ... -- to 1e-12.
// [Hairer, Norsett, Wanner, Solving Ordinary Differential Equations I, table II.2.1]
consteval bool is_consistent(const Tableau& tableau) {
  const auto equal = [](double x, double y) { return x - y < 1e-12 && y - x < 1e-12; };
  const auto& [name, order, stages, a, b, c] = tableau;
  double b_1 = 0, b_c = 0, b_cc = 0, b_ac = 0, b_ccc = 0, b_c_ac = 0, b_acc = 0, b_aac = 0;
  for (size_t i = 0; i < kMaxStages; ++i) {
    double a_1 = 0, a_c = 0, a_cc = 0, a_ac = 0;
    for (size_t j = 0; j < kMaxStages; ++j) {
      if (a[i][j] != 0 && (j >= i || i >= stages)) return false;
      a_1 += a[i][j];
      a_c += a[i][j] * c[j];
      a_cc += a[i][j] * c[j] * c[j];
      for (size_t k = 0; k < kMaxStages; ++k) a_ac += a[i][j] * a[j][k] * c[k];
    }
    if (!equal(a_1, c[i]) || (i >= stages && b[i] != 0)) return false;
    b_1 += b[i];
    b_c += b[i] * c[i];
    b_cc += b[i] * c[i] * c[i];
    b_ac += b[i] * a_c;
    b_ccc += b[i] * c[i] * c[i] * c[i];
    b_c_ac += b[i] * c[i] * a_c;
    b_acc += b[i] * a_cc;
    b_aac += b[i] * a_ac;
  }
  const bool first = equal(b_1, 1);
  const bool second = equal(b_c, 1. / 2);
  const bool third = equal(b_cc, 1. / 3) && equal(b_ac, 1. / 6);
  const bool fourth = equal(b_ccc, 1. / 4) && equal(b_c_ac, 1. / 8) && equal(b_acc, 1. / 12) && equal(b_aac, 1. / 24);
  return stages >= 1 && stages <= kMaxStages && order >= 1 && first && (order < 2 || second) && (order < 3 || third) &&
         (order < 4 || fourth);
}

inline constexpr Tableau kEuler{"euler", 1, 1, {}, {1}, {0}};
inline constexpr Tableau kMidpoint{"midpoint", 2, 2, {{{}, {0.5}}}, {0, 1}, {0, 0.5}};
inline constexpr Tableau kHeun2{"heun2", 2, 2, {{{}, {1}}}, {0.5, 0.5}, {0, 1}};
// Kutta's classical method; torchdiffeq's "rk4" is the 3/8 rule instead.
inline constexpr Tableau kRk4{
    "rk4", 4, 4, {{{}, {0.5}, {0, 0.5}, {0, 0, 1}}}, {1. / 6, 1. / 3, 1. / 3, 1. / 6}, {0, 0.5, 0.5, 1}};

static_assert(is_consistent(kEuler) && is_consistent(kMidpoint) && is_consistent(kHeun2) && is_consistent(kRk4));

// Names in the order above: for messages and help.
std::vector<std::string> solver_names();

// Throws Error listing the names if there is no such method.
const Tableau& tableau_named(std::string_view name);

}  // namespace cfm::flow
