// cfm_eval_nll itself, on one rank and on several.
#include "evaluator/nll.h"

#include <ATen/TensorOperators.h>
#include <ATen/Version.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/full.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <functional>
#include <iostream>
#include <numbers>
#include <sstream>

#include "flow/draws.h"
#include "flow/path.h"
#include "flow/pixels.h"
#include "support/error_text.h"
#include "support/nll_program.h"
#include "support/unfit_files.h"

namespace cfm::evaluator {
namespace {

namespace fs = std::filesystem;
using test::bytes_of;
using test::CommandResult;
using test::has;
using test::NllProgram;
using test::operator+;
using test::slow_unet;

TEST_F(NllProgram, GivesTheSameBitsForEveryImageOnOneTwoAndThreeRanks) {
  for (const std::string weights : {"plain.safetensors", "classes.safetensors"}) {
    const std::string one = evaluated(weights, weights + ".1", {}, 1);
    EXPECT_EQ(std::count(one.begin(), one.end(), '\n'), 24);
    EXPECT_EQ(evaluated(weights, weights + ".2", {}, 2), one);
    EXPECT_EQ(evaluated(weights, weights + ".3", {}, 3), one);
  }
  const std::vector<std::string> batch{"--step_control=batch", "--repeats=2"};
  EXPECT_EQ(evaluated("plain.safetensors", "batch.3", batch, 3), evaluated("plain.safetensors", "batch.1", batch, 1));
}

// On grids to rounding; on adaptive steps, whose control amplifies it, by less than the solution errs: from one of the
// same dequantisation and probes by a float64 network at 1e-8. Where the lengths of the steps agree rounding alone is
// left: in over a third of the images at 1e-3, in none with steps of any length. At 1e-5 float32's rounding moves this
// network as far as the solver errs (in float64 4.3e-6): the bound is a few times the spread that was found, 6.4e-6.
TEST_F(NllProgram, HardlyDependsOnTheBatchShape) {
  using Flags = std::vector<std::string>;
  using Bits = std::vector<double>;  // of each image
  const auto at_shapes = [&](const std::string& name, const Flags& flags) {
    std::vector<Bits> all;
    for (const std::string shape : {"1", "7", "64"})
      all.push_back(
          bits_of(evaluated("plain.safetensors", name + shape, flags + Flags{"--count=8", "--net_batch=" + shape})));
    return all;
  };
  const auto differences = [](const std::vector<Bits>& some, const std::vector<Bits>& others) {
    std::vector<double> all;
    for (const Bits& a : some)
      for (const Bits& b : others)
        for (size_t i = 0; &a != &b && i < a.size(); ++i) all.push_back(std::abs(a[i] - b.at(i)));
    return all;
  };
  const auto rms = [](const std::vector<double>& values) {
    double squares = 0;
    for (const double value : values) squares += value * value;
    return std::sqrt(squares / static_cast<double>(values.size()));
  };
  const auto grid = at_shapes("grid_shape", {"--solver=dp5", "--steps=4", "--check_images=0"});
  EXPECT_LE(std::ranges::max(differences(grid, grid)), 1e-6);
  const Flags exactly{"--count=8", "--atol=1e-8", "--rtol=1e-8", "--precision=fp64"};
  const std::vector<Bits> exact{bits_of(evaluated("plain.safetensors", "exact", exactly))};
  for (const std::string tolerance : {"1e-3", "1e-5"}) {
    const auto adaptive = at_shapes("shape" + tolerance, {"--atol=" + tolerance, "--rtol=" + tolerance});
    const std::vector<double> between = differences(adaptive, adaptive);
    const double spread = rms(between), error = rms(differences(adaptive, exact));
    const auto same = std::ranges::count_if(between, [](double value) { return value <= 1e-6; });
    std::cout << "          bits/dim at " << tolerance << ", rms: spread over net_batch 1, 7, 64 " << spread
              << ", error " << error << "; " << same << " of " << between.size() << " within 1e-6\n";
    EXPECT_LT(spread, tolerance == "1e-3" ? error : 3e-5);
    EXPECT_GE(4 * same, std::ssize(between));
  }
}

// A divergence by the program's flags, and of an image's Jacobian [64,64] by hand.
struct HandDivergence {
  std::vector<std::string> flags;
  std::function<at::Tensor(const at::Tensor& jacobian, int64_t image)> of;
};

const HandDivergence kExact{{"--divergence=exact"},
                            [](const at::Tensor& jacobian, int64_t) { return jacobian.trace(); }};

// The mean of z^T J z over two probes of the image.
const HandDivergence kTwoGaussians{
    {"--divergence=gaussian", "--probes=2"}, [](const at::Tensor& jacobian, int64_t image) {
      const auto id = static_cast<uint64_t>(image) << 16;
      const at::Tensor z = flow::keyed_normal(5, Purpose::kProbe, id, 2, {64}).to(at::kDouble);
      return (z.mm(jacobian) * z).sum() / 2;
    }};

// Weights whose output means a velocity by another path or objective, and that velocity by hand: F is the network's
// output, `net` the network in float64.
struct HandFlow {
  std::string name, path, objective;
  double t_end, sigma0;
  using Net = std::function<at::Tensor(const at::Tensor& x, double t)>;
  std::function<at::Tensor(const Net& net, const at::Tensor& x, double t)> velocity;
  HandDivergence divergence;  // any goes with any
  void write(const std::string& file) const {
    checkpoint::WeightsInfo info;
    flow::Path as_named;
    as_named.path = path;
    info.path = path;
    info.path_parameters = flow::path_parameters(as_named);
    info.objective = objective;
    info.t_end = t_end;
    info.sigma0 = sigma0;
    test::write_tiny_weights(file, slow_unet(10), 2, 0, 0, info);
  }
};

const HandFlow kHandFlows[] = {
    {"ot_fm", "ot", "fm", 1, 1, [](const HandFlow::Net& net, const at::Tensor& x, double t) { return net(x, t); },
     kExact},
    // The output is -S: v = beta/2 (x + S).
    {"vp_sm", "vp", "sm", 1 - 1e-5, 1,
     [](const HandFlow::Net& net, const at::Tensor& x, double t) {
       return (0.1 + 19.9 * (1 - t)) / 2 * (x - net(x, t));
     },
     kExact},
    // The output is noise, the input scaled: v = sigma' F.
    {"ve_fm", "ve", "fm", 1 - 1e-5, 100,
     [](const HandFlow::Net& net, const at::Tensor& x, double t) {
       const double sigma = 0.02 * std::pow(5000, 1 - t);
       return -std::log(5000) * sigma * net(x / std::sqrt(sigma * sigma + 0.25), t);
     },
     kTwoGaussians},
};

// Euler's three steps by hand: the network in float64, its Jacobian by central differences.
TEST_F(NllProgram, IsTheLikelihoodOfEveryKindOfNetworkWithEachImagesLabelAndProbes) {
  models::UNet net(slow_unet(10), 2);
  net.eval();
  net.to(at::kDouble);
  const at::NoGradGuard no_grad;
  for (const HandFlow& hand : kHandFlows) {
    hand.write(path(hand.name));
    std::istringstream lines(
        evaluated(hand.name, "hand_" + hand.name,
                  hand.divergence.flags + std::vector<std::string>{"--solver=euler", "--steps=3", "--grid=uniform",
                                                                   "--precision=fp64", "--count=3", "--seed=5",
                                                                   "--check_images=2"}));
    std::string line;
    std::getline(lines, line);
    for (int64_t i = 0; i < 3; ++i) {
      const std::vector<uint8_t> pixels = tests::pixels_of(i, kShape);
      const at::Tensor bytes =
          at::tensor(std::vector<int64_t>(pixels.begin(), pixels.end())).to(at::kByte).view({1, 1, 8, 8});
      const at::Tensor u =
          flow::keyed_uniform(5, Purpose::kNllDequantise, static_cast<uint64_t>(i) << 16, 1, {1, 8, 8});
      const HandFlow::Net network = [&](const at::Tensor& x, double t) {
        const int64_t rows = x.size(0);
        return net.forward(x, at::full({rows}, t, at::kDouble), at::full({rows}, tests::label_of(i), at::kLong));
      };
      at::Tensor x = flow::to_model_space(bytes, u).to(at::kDouble);
      double log_p = 0;
      for (const double part : {1.0, 2. / 3, 1. / 3}) {
        const auto v = [&](const at::Tensor& at_x) { return hand.velocity(network, at_x, part * hand.t_end); };
        const double h = 1e-4;
        const at::Tensor moves = at::eye(64, at::kDouble).view({64, 1, 8, 8}) * h;
        const at::Tensor jacobian = ((v(x + moves) - v(x - moves)) / (2 * h)).view({64, 64});
        log_p -= hand.divergence.of(jacobian, i).item<double>() * hand.t_end / 3;
        x = x - v(x) * hand.t_end / 3;
      }
      const double variance = hand.sigma0 * hand.sigma0;
      log_p += -x.square().sum().item<double>() / 2 / variance - 32 * std::log(2 * std::numbers::pi * variance);
      std::getline(lines, line);
      EXPECT_NEAR(std::stod(line.substr(line.rfind(',') + 1)), -log_p / (64 * std::numbers::ln2) + 7, 1e-6)
          << hand.name << ": " << line;
      EXPECT_TRUE(line.starts_with(std::to_string(i) + "," + std::to_string(tests::label_of(i)) + ",3,")) << line;
    }
  }
}

TEST_F(NllProgram, TheResultSaysAllThatDecidedIt) {
  const test::Finished finished = run("plain.safetensors", "full", {"--repeats=2", "--seed=3"}, 2);
  ASSERT_EQ(finished.exit_code, 0) << finished.output;
  EXPECT_TRUE(has(finished.output, {"weights", "plain.safetensors", "cost ", "network call", "bits/dim over 23 images",
                                    "one draw", "NFE", "written"}));
  const nlohmann::json json = result("full");
  EXPECT_EQ(json.at("metric"), "nll");
  EXPECT_EQ(json.at("images"), 23);
  EXPECT_EQ(json.at("repeats"), 2);
  EXPECT_TRUE(only("full", ".json").filename().string().starts_with("nll-step_000000300-"));
  EXPECT_EQ(json.at("settings").at("solver"), "dopri5");
  EXPECT_EQ(json.at("settings").at("rtol"), 1e-3);
  EXPECT_EQ(json.at("settings").at("seed"), 3);
  EXPECT_EQ(json.at("settings").at("net_batch"), 7);
  EXPECT_EQ(json.at("weights").at("xxh3_128").get<std::string>().size(), 32U);
  EXPECT_EQ(json.at("data").at("fingerprint").get<std::string>().size(), 32U);
  EXPECT_EQ(json.at("data").at("images_fingerprint").get<std::string>().size(), 32U);
  EXPECT_EQ(json.at("machine").at("ranks"), 2);
  EXPECT_EQ(json.at("machine").at("device"), "cpu");
  EXPECT_EQ(json.at("machine").at("cpu_capability"), at::get_cpu_capability());
  EXPECT_FALSE(json.at("settings").contains("cpu_capability"));
  EXPECT_TRUE(has(json.at("command").get<std::string>(),
                  {"mpirun -n 2 cfm_eval_nll ", " --net_batch=7", " --repeats=2", " --rtol=0.001", " --seed=3"}));
  EXPECT_FALSE(json.at("source_revision").get<std::string>().empty());
  EXPECT_GE(json.at("nfe").at("max"), json.at("nfe").at("min"));
  EXPECT_EQ(json.at("nfe").at("min").get<int>() % 6, 2);
  EXPECT_FALSE(json.contains("convergence"));
  // The table gives the same mean and standard error; one draw is what --repeats=1 gives.
  std::istringstream lines(table("full"));
  std::string line;
  std::getline(lines, line);
  double sum = 0, squares = 0;
  while (std::getline(lines, line)) {
    std::istringstream fields(line);
    std::vector<std::string> values;
    for (std::string field; std::getline(fields, field, ',');) values.push_back(field);
    ASSERT_EQ(values.size(), 5U);
    const double bits = std::stod(values[3]);
    sum += bits;
    squares += bits * bits;
  }
  const double mean = sum / 23;
  EXPECT_NEAR(json.at("bits_per_dim").get<double>(), mean, 1e-9);
  EXPECT_NEAR(json.at("standard_error").get<double>(), std::sqrt((squares / 23 - mean * mean) / 22), 1e-6);
  evaluated("plain.safetensors", "single", {"--repeats=1", "--seed=3"});
  EXPECT_NEAR(json.at("one_draw").at("bits_per_dim").get<double>(), result("single").at("bits_per_dim").get<double>(),
              1e-12);
}

// "3.01234 +- 0.00567": mean and standard error, from the table.
std::string mean_text(const std::vector<double>& bits) {
  const auto n = static_cast<double>(bits.size());
  double sum = 0, squares = 0;
  for (const double value : bits) sum += value;
  for (const double value : bits) squares += (value - sum / n) * (value - sum / n);
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%.5f +- %.5f", sum / n, std::sqrt(squares / (n - 1)) / std::sqrt(n));
  return text.data();
}

TEST_F(NllProgram, TheLastLineOfProgressHasTheMeanAndTheStandardErrorOfTheTable) {
  for (const std::string repeats : {"1", "2"}) {
    const std::string results = "progress" + repeats;
    const test::Finished finished = run("plain.safetensors", results, {"--repeats=" + repeats}, 2);
    ASSERT_EQ(finished.exit_code, 0) << finished.output;
    const size_t last = finished.output.rfind("/23 images");
    ASSERT_NE(last, std::string::npos) << finished.output;
    const std::string line = finished.output.substr(finished.output.rfind("likelihood ", last));
    const std::string expected =
        "likelihood   23/23 images  " + mean_text(bits_of(table(results), 1)) + " bits/dim  NFE ";
    EXPECT_TRUE(line.starts_with(expected)) << line << "\n" << expected;
    EXPECT_TRUE(has(line.substr(0, line.find('\n')), {" images/s  ETA 00:00:00"}));
  }
}

TEST_F(NllProgram, AGridPrintsHowFarItIsFromTwiceTheSteps) {
  const std::vector<std::string> grid{"--solver=dp5", "--steps=2", "--check_images=5"};
  const test::Finished finished = run("plain.safetensors", "grid", grid, 2);
  ASSERT_EQ(finished.exit_code, 0) << finished.output;
  EXPECT_TRUE(has(finished.output, {"convergence", "2 steps less 4", "on 5 images", "12 network calls"}));
  const nlohmann::json convergence = result("grid").at("convergence");
  // The same from two results.
  evaluated("plain.safetensors", "fine", {"--solver=dp5", "--steps=4", "--check_images=0"});
  const auto bits = [](const std::string& csv, int64_t image) {
    std::istringstream lines(csv);
    std::string line;
    for (int64_t i = -1; i <= image; ++i) std::getline(lines, line);
    return std::stod(line.substr(line.rfind(',') + 1));
  };
  double mean = 0;
  for (int64_t image = 0; image < 5; ++image) mean += (bits(table("grid"), image) - bits(table("fine"), image)) / 5;
  EXPECT_NEAR(convergence.at("mean_difference").get<double>(), mean, 1e-9);
}

TEST_F(NllProgram, TakesTheLongestEmaOfARunAndWritesToItsResults) {
  const CommandResult done =
      test::run_command("OMP_NUM_THREADS=1 " CFM_BIN_DIR
                        "/cfm_eval_nll --solver=euler --steps=2 --net_batch=4 --count=4 --check_images=0 --data=" +
                        path("data") + " --run_dir=" + path("run"));
  ASSERT_EQ(done.exit_code, 0) << done.output;
  EXPECT_EQ(result("run/results").at("weights").at("name"), "ema_0.9999");
  EXPECT_TRUE(only("run/results", ".json").filename().string().starts_with("nll-step_000000100-"));
}

TEST_F(NllProgram, RefusesWhatWouldNotWorkAtOnceWithExitCode2AndWithoutAResult) {
  fs::create_directories(path("empty"));
  fs::create_directories(path("large"));
  tests::write_shard(path("large/images.h5"), {3, 16, 16}, 4);
  test::write_tiny_weights(path("few.safetensors"), slow_unet(3), 2);
  {
    const models::UNet net(slow_unet(0), 1);
    const auto parameters = models::named_parameters(net);
    checkpoint::WeightsInfo info;
    info.model = slow_unet(0);
    info.objective = "ddpm";
    checkpoint::write_safetensors(path("ddpm.safetensors"), parameters, to_metadata(info));
    info.objective = "fm";
    parameters[3].second.detach().flatten()[0].fill_(std::nan(""));
    checkpoint::write_safetensors(path("nan.safetensors"), parameters, to_metadata(info));
  }
  test::write_truncated(path("cut.safetensors"), path("plain.safetensors"));
  test::write_weights_of_another_network(path("other.safetensors"), slow_unet(0));
  fs::copy_file(CFM_SOURCE_DIR "/configs/digits/features.safetensors", path("digits.safetensors"));
  fs::create_directories(path("zero"));
  test::write_shard_without_images(path("zero/images.h5"), kShape);
  using Flags = std::vector<std::string>;
  struct Case {
    std::string weights;
    Flags flags;
    std::vector<const char*> parts;
  };
  const std::vector<Case> cases{
      {"plain.safetensors", {"--data=" + path("empty")}, {"empty"}},
      {"plain.safetensors", {"--data=" + path("none")}, {"none"}},
      {"plain.safetensors", {"--data="}, {"--data is empty"}},
      {"plain.safetensors", {"--data=" + path("large")}, {"3x16x16", "1x8x8"}},
      {"plain.safetensors", {"--data=" + path("zero")}, {"zero/images.h5", "(0,1,8,8)", "nothing in it"}},
      {"nan.safetensors", {}, {"nan.safetensors", "not finite", "take another file"}},
      {"ddpm.safetensors", {}, {"ddpm.safetensors", "--path=ot", "--objective=ddpm"}},
      {"cut.safetensors", {}, {"cut.safetensors", "truncated"}},
      {"other.safetensors", {}, {"other.safetensors", "tensor", "expected", "the file's own description"}},
      {"digits.safetensors", {}, {"digits.safetensors", "not a weights file of cfm"}},
      {"few.safetensors", {}, {"class 3", "0..2"}},
      {"classes.safetensors", {"--labels=none"}, {"--labels=none", "null class"}},
      {"plain.safetensors", {"--labels=data"}, {"--labels=data", "no classes"}},
      {"plain.safetensors", {"--count=41"}, {"--count=41", "40 images"}},
      {"plain.safetensors", {"--solver=dopri8"}, {"--solver=dopri8", "dopri5"}},
      {"plain.safetensors", {"--net_batch=99999999999"}, {"--net_batch=99999999999", "1 to 16384"}},
      {"plain.safetensors", {"--atol=0"}, {"--atol=0"}},
      {"plain.safetensors", {"--step_control=rank"}, {"--step_control=rank"}},
      {"plain.safetensors", {"--probes=0"}, {"--probes=0"}},
      {"plain.safetensors", {"--repeats=0"}, {"--repeats=0"}},
      {"plain.safetensors", {"--divergence=none"}, {"--divergence=none"}},
      {"plain.safetensors", {"--precision=fp16"}, {"--precision=fp16"}},
      {"plain.safetensors", {"--tag=a/b"}, {"--tag=a/b"}},
      {"plain.safetensors", {"--steps=3", "--grid=edm"}, {"--steps=3 does nothing", "--grid=edm", "--solver=dopri5"}},
      {"plain.safetensors", {"--check_images=9"}, {"--check_images=9 does nothing", "--solver=dopri5"}},
      {"plain.safetensors", {"--solver=rk4", "--error_norm=x"}, {"--error_norm=x does nothing", "--solver=rk4"}},
      {"plain.safetensors", {"--divergence=exact", "--probes=2"}, {"--probes=2 does nothing", "--divergence=exact"}},
      {"plain.safetensors", {"--results_dir="}, {"--results_dir"}},
      {"none.safetensors", {}, {"none.safetensors", "No such file"}},
      {"plain.safetensors", {"--max_nfe=20", "--rtol=1e-7", "--atol=1e-7"}, {"sample", "--max_nfe=20"}},
  };
  for (const Case& one : cases) {
    const test::Finished finished = run(one.weights, "refused", one.flags, 2);
    EXPECT_EQ(finished.exit_code, 2) << one.weights << "\n" << finished.output;
    for (const char* part : one.parts) EXPECT_TRUE(has(finished.output, {part})) << one.weights;
    EXPECT_LT(finished.seconds, 30);
  }
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(path("refused"), none)) EXPECT_EQ(entry.path().extension(), ".parts");
}

TEST_F(NllProgram, ANullClassIsAnEvaluationWithoutLabels) {
  const std::string without = evaluated("null.safetensors", "null", {"--labels=none", "--count=5"});
  EXPECT_TRUE(has(without, {"0,10,", "4,10,"}));
  EXPECT_NE(evaluated("null.safetensors", "own", {"--count=5"}), without);
  EXPECT_EQ(result("null").at("settings").at("labels"), "null class");
}

TEST_F(NllProgram, ExplainsItselfOnAScreen) {
  const test::Finished help = test::run({test::program("cfm_eval_nll"), "--help"}, path("log"));
  EXPECT_EQ(help.exit_code, 0);
  EXPECT_TRUE(has(help.output, {"--run_dir", "--error_norm", "mpirun -n 2 cfm_eval_nll --run_dir"}));
}

}  // namespace
}  // namespace cfm::evaluator
