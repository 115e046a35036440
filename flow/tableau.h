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
// min(order, 5) -- sum b c = 1/2, sum b c^2 = 1/3, sum b a c = 1/6, ... -- to 1e-12.
// [Hairer, Norsett, Wanner, Solving Ordinary Differential Equations I, table II.2.1]
consteval bool is_consistent(const Tableau& tableau) {
  const auto equal = [](double x, double y) { return x - y < 1e-12 && y - x < 1e-12; };
  const auto& [name, order, stages, a, b, c] = tableau;
  double b_1 = 0, b_c = 0, b_cc = 0, b_ac = 0, b_ccc = 0, b_c_ac = 0, b_acc = 0, b_aac = 0;
  double b_cccc = 0, b_cc_ac = 0, b_c_acc = 0, b_c_aac = 0, b_ac_ac = 0, b_accc = 0, b_a_c_ac = 0, b_aacc = 0,
         b_aaac = 0;
  for (size_t i = 0; i < kMaxStages; ++i) {
    double a_1 = 0, a_c = 0, a_cc = 0, a_ccc = 0, a_ac = 0, a_c_ac = 0, a_acc = 0, a_aac = 0;
    for (size_t j = 0; j < kMaxStages; ++j) {
      if (a[i][j] != 0 && (j >= i || i >= stages)) return false;
      a_1 += a[i][j];
      a_c += a[i][j] * c[j];
      a_cc += a[i][j] * c[j] * c[j];
      a_ccc += a[i][j] * c[j] * c[j] * c[j];
      for (size_t k = 0; k < kMaxStages; ++k) {
        a_ac += a[i][j] * a[j][k] * c[k];
        a_c_ac += a[i][j] * c[j] * a[j][k] * c[k];
        a_acc += a[i][j] * a[j][k] * c[k] * c[k];
        for (size_t l = 0; l < kMaxStages; ++l) a_aac += a[i][j] * a[j][k] * a[k][l] * c[l];
      }
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
    b_cccc += b[i] * c[i] * c[i] * c[i] * c[i];
    b_cc_ac += b[i] * c[i] * c[i] * a_c;
    b_c_acc += b[i] * c[i] * a_cc;
    b_c_aac += b[i] * c[i] * a_ac;
    b_ac_ac += b[i] * a_c * a_c;
    b_accc += b[i] * a_ccc;
    b_a_c_ac += b[i] * a_c_ac;
    b_aacc += b[i] * a_acc;
    b_aaac += b[i] * a_aac;
  }
  const bool first = equal(b_1, 1);
  const bool second = equal(b_c, 1. / 2);
  const bool third = equal(b_cc, 1. / 3) && equal(b_ac, 1. / 6);
  const bool fourth = equal(b_ccc, 1. / 4) && equal(b_c_ac, 1. / 8) && equal(b_acc, 1. / 12) && equal(b_aac, 1. / 24);
  const bool fifth = equal(b_cccc, 1. / 5) && equal(b_cc_ac, 1. / 10) && equal(b_c_acc, 1. / 15) &&
                     equal(b_c_aac, 1. / 30) && equal(b_ac_ac, 1. / 20) && equal(b_accc, 1. / 20) &&
                     equal(b_a_c_ac, 1. / 40) && equal(b_aacc, 1. / 60) && equal(b_aaac, 1. / 120);
  return stages >= 1 && stages <= kMaxStages && order >= 1 && first && (order < 2 || second) && (order < 3 || third) &&
         (order < 4 || fourth) && (order < 5 || fifth);
}

inline constexpr Tableau kEuler{"euler", 1, 1, {}, {1}, {0}};
inline constexpr Tableau kMidpoint{"midpoint", 2, 2, {{{}, {0.5}}}, {0, 1}, {0, 0.5}};
inline constexpr Tableau kHeun2{"heun2", 2, 2, {{{}, {1}}}, {0.5, 0.5}, {0, 1}};
// Kutta's classical method.
inline constexpr Tableau kRk4{
    "rk4", 4, 4, {{{}, {0.5}, {0, 0.5}, {0, 0, 1}}}, {1. / 6, 1. / 3, 1. / 3, 1. / 6}, {0, 0.5, 0.5, 1}};
// Kutta's 3/8 rule: what torchdiffeq calls "rk4".
inline constexpr Tableau kRk438{"rk4_38",
                                4,
                                4,
                                {{{}, {1. / 3}, {-1. / 3, 1}, {1, -1, 1}}},
                                {1. / 8, 3. / 8, 3. / 8, 1. / 8},
                                {0, 1. / 3, 2. / 3, 1}};
// Dormand and Prince's solution of order 5. [J. Comp. Appl. Math. 6 (1980), table 2, RK5(4)7M]
inline constexpr Tableau kDp5{"dp5",
                              5,
                              6,
                              {{{},
                                {1. / 5},
                                {3. / 40, 9. / 40},
                                {44. / 45, -56. / 15, 32. / 9},
                                {19372. / 6561, -25360. / 2187, 64448. / 6561, -212. / 729},
                                {9017. / 3168, -355. / 33, 46732. / 5247, 49. / 176, -5103. / 18656}}},
                              {35. / 384, 0, 500. / 1113, 125. / 192, -2187. / 6784, 11. / 84},
                              {0, 1. / 5, 3. / 10, 4. / 5, 8. / 9, 1}};

// The same with a seventh stage at the step's own end: the next step's first one, and what the error estimate needs.
consteval Tableau with_stage_at_the_end(Tableau tableau) {
  tableau.a[tableau.stages] = tableau.b;
  tableau.c[tableau.stages] = 1;
  ++tableau.stages;
  return tableau;
}
inline constexpr Tableau kDopri5 = with_stage_at_the_end(kDp5);

// b less the weights of a solution of order 4: h * sum e k estimates a step's error. Shampine's, as torchdiffeq has
// them; Dormand and Prince's own (and scipy's) are 3/2 of these.
inline constexpr std::array<double, kMaxStages> kDopri5Error{35. / 384 - 1951. / 21600,
                                                             0,
                                                             500. / 1113 - 22642. / 50085,
                                                             125. / 192 - 451. / 720,
                                                             -2187. / 6784 + 12231. / 42400,
                                                             11. / 84 - 649. / 6300,
                                                             -1. / 60};

// Whether b - e is a method of order 4, and not of 5: then e is an estimate of the error, and not zero.
consteval bool is_error_estimate(Tableau tableau, const std::array<double, kMaxStages>& e) {
  for (size_t i = 0; i < kMaxStages; ++i) tableau.b[i] -= e[i];
  tableau.order = 5;
  const bool fifth = is_consistent(tableau);
  tableau.order = 4;
  return is_consistent(tableau) && !fifth;
}

static_assert(is_consistent(kEuler) && is_consistent(kMidpoint) && is_consistent(kHeun2) && is_consistent(kRk4) &&
              is_consistent(kRk438) && is_consistent(kDp5) && is_consistent(kDopri5));
static_assert(is_error_estimate(kDopri5, kDopri5Error));

// Names of the methods for fixed grids, in the order above: for messages and help.
std::vector<std::string> solver_names();

// Throws Error listing the names if there is no such method.
const Tableau& tableau_named(std::string_view name);

}  // namespace cfm::flow
