#include "flow/path.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/addcmul.h>
#include <ATen/ops/expm1.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/zeros_like.h>

#include <cassert>
#include <charconv>
#include <cmath>
#include <numbers>
#include <vector>

#include "base/number_text.h"
#include "base/shape.h"

namespace cfm::flow {
namespace {

constexpr double kSmallestS = 1e-5;  // [arXiv:2210.02747v2 app. E.1]

struct Parameter {
  std::string path, name;
  double Path::*value;
};

const std::vector<Parameter>& parameters() {
  static const std::vector<Parameter> all{
      {"ot", "sigma_min", &Path::sigma_min}, {"vp", "vp_b0", &Path::vp_b0},
      {"vp", "vp_b1", &Path::vp_b1},         {"ve", "ve_smin", &Path::ve_smin},
      {"ve", "ve_smax", &Path::ve_smax},     {"polynomial", "polynomial_n", &Path::polynomial_n}};
  return all;
}

bool is_path(const std::string& name) {
  return name == "ot" || name == "vp" || name == "ve" || name == "cosine" || name == "polynomial";
}

Coefficients vp(const Path& path, const at::Tensor& t) {
  const at::Tensor s = 1 - t;
  const double slope = path.vp_b1 - path.vp_b0;
  const at::Tensor beta = path.vp_b0 + slope * s;  // T'(s)
  const at::Tensor integral = (path.vp_b0 + slope / 2 * s) * s;
  const at::Tensor alpha = (integral * -0.5).exp();
  const at::Tensor sigma = at::expm1(-integral).neg().sqrt();
  return {alpha, sigma, beta / 2 * alpha, beta / -2 * alpha.square() / sigma};
}

Coefficients ve(const Path& path, const at::Tensor& t) {
  const double rate = std::log(path.ve_smax / path.ve_smin);
  const at::Tensor sigma = path.ve_smin * ((1 - t) * rate).exp();
  return {at::ones_like(t), sigma, at::zeros_like(t), -rate * sigma};
}

Coefficients cosine(const at::Tensor& t) {
  constexpr double kQuarter = std::numbers::pi / 2;
  const at::Tensor alpha = (kQuarter * t).sin(), sigma = (kQuarter * t).cos();
  return {alpha, sigma, kQuarter * sigma, -kQuarter * alpha};
}

Coefficients polynomial(double n, const at::Tensor& t) {
  const at::Tensor alpha = at::pow(t, n), rate = n * at::pow(t, n - 1);
  return {alpha, 1 - alpha, rate, -rate};
}

Coefficients ot(double sigma_min, const at::Tensor& t) {
  return {t, 1 - (1 - sigma_min) * t, at::ones_like(t), at::full_like(t, sigma_min - 1)};  // eq. 20
}

}  // namespace

const std::string& path_names() {
  static const std::string names = "ot, vp, ve, cosine, polynomial";
  return names;
}

Problems Path::validate() const {
  Problems problems;
  if (!is_path(path))
    problems.push_back("--path=" + path + ": there is no such path. Choose one of " + path_names() + ".");
  if (!(sigma_min >= 0 && sigma_min < 1))
    problems.push_back("--sigma_min=" + number_text(sigma_min) + ": expected 0 <= sigma_min < 1.");
  if (!(vp_b0 > 0 && vp_b1 >= vp_b0 && std::isfinite(vp_b1)))
    problems.push_back("--vp_b0=" + number_text(vp_b0) + " --vp_b1=" + number_text(vp_b1) + ": expected 0 < b0 <= b1.");
  if (!(ve_smin > 0 && ve_smax > ve_smin && std::isfinite(ve_smax)))
    problems.push_back("--ve_smin=" + number_text(ve_smin) + " --ve_smax=" + number_text(ve_smax) +
                       ": expected 0 < smin < smax.");
  if (!(polynomial_n >= 1 && std::isfinite(polynomial_n)))
    problems.push_back("--polynomial_n=" + number_text(polynomial_n) +
                       ": expected at least 1; below, the velocity is infinite at t = 0.");
  return problems;
}

std::map<std::string, std::string> path_parameters(const Path& path) {
  std::map<std::string, std::string> numbers;
  for (const Parameter& parameter : parameters()) {
    if (parameter.path == path.path) numbers[parameter.name] = number_text(path.*parameter.value);
  }
  return numbers;
}

Path path_from(const std::string& name, const std::map<std::string, std::string>& numbers) {
  Path path;
  path.path = name;
  for (const Parameter& parameter : parameters()) {
    if (parameter.path != name) continue;
    const auto found = numbers.find(parameter.name);
    check(found != numbers.end(), "the path " + name + " has no '" + parameter.name + "'");
    const std::string& text = found->second;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), path.*parameter.value);
    check(error == std::errc() && end == text.data() + text.size(),
          "the path " + name + " has " + parameter.name + " '" + text + "', expected a number");
  }
  const Problems problems = path.validate();
  if (!problems.empty()) throw Error(problems.front());
  return path;
}

double t_end(const Path& path) { return path.path == "vp" || path.path == "ve" ? 1 - kSmallestS : 1; }

double sigma0(const Path& path) { return path.path == "ve" ? path.ve_smax : 1; }

Coefficients coefficients(const Path& path, const at::Tensor& times) {
  assert(is_path(path.path));
  const at::Tensor t = times.to(at::kDouble);
  if (path.path == "vp") return vp(path, t);
  if (path.path == "ve") return ve(path, t);
  if (path.path == "cosine") return cosine(t);
  if (path.path == "polynomial") return polynomial(path.polynomial_n, t);
  return ot(path.sigma_min, t);
}

PathSample sample_path(const Path& path, const at::Tensor& x0, const at::Tensor& x1, const at::Tensor& t) {
  check_shape(x0, x1.sizes().vec(), "x0");
  check_shape(t, {x1.size(0)}, "t");
  const Coefficients at = coefficients(path, t);
  const auto combined = [&](const at::Tensor& of_data, const at::Tensor& of_noise) {
    return at::addcmul(factor_of(of_noise, x1) * x0, factor_of(of_data, x1), x1);
  };
  return {combined(at.alpha, at.sigma), combined(at.alpha_rate, at.sigma_rate)};
}

at::Tensor conditional_velocity(const Path& path, const at::Tensor& x, const at::Tensor& x1, const at::Tensor& t) {
  check_shape(x, x1.sizes().vec(), "x");
  const Coefficients at = coefficients(path, t);
  return factor_of(at.sigma_rate / at.sigma, x) * (x - factor_of(at.alpha, x) * x1) + factor_of(at.alpha_rate, x) * x1;
}

at::Tensor over_images(const at::Tensor& t, const at::Tensor& x) {
  check_shape(t, {x.size(0)}, "t");
  std::vector<int64_t> shape(static_cast<size_t>(x.dim()), 1);
  shape[0] = x.size(0);
  return t.view(shape);
}

at::Tensor factor_of(const at::Tensor& coefficient, const at::Tensor& x) {
  return over_images(coefficient.to(x.scalar_type()), x);
}

}  // namespace cfm::flow
