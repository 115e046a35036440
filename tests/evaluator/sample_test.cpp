// The program itself, on one rank and on several.
#include "evaluator/sample.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iostream>

#include "data/npz.h"
#include "flow/draws.h"
#include "flow/path.h"
#include "flow/pixels.h"
#include "support/error_text.h"
#include "support/file_bytes.h"
#include "support/scratch_directory.h"
#include "support/subprocess.h"
#include "support/tiny_weights.h"

namespace cfm::evaluator {
namespace {

using test::bytes_of;
using test::CommandResult;
using test::has;

class SampleProgram : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    scratch_ = std::make_unique<tests::ScratchDirectory>();
    test::write_tiny_weights(path("plain.safetensors"), test::tiny_unet(0), 1);
    test::write_tiny_weights(path("classes.safetensors"), test::tiny_unet(3), 2);
    test::write_tiny_checkpoint(path("run"), 100, 0, {0.9, 0.9999});
    test::write_tiny_checkpoint(path("run"), 200, 0, {0.9, 0.9999});
  }
  static void TearDownTestSuite() { scratch_.reset(); }
  static std::string path(const std::string& name) { return (scratch_->path() / name).string(); }

  static CommandResult run(const std::string& arguments, int ranks = 1) {
    return test::run_command("OMP_NUM_THREADS=1 " CFM_MPIRUN " -n " + std::to_string(ranks) +
                             " " CFM_BIN_DIR "/cfm_sample " + arguments);
  }
  // The file's bytes after a run that must succeed.
  static std::string sampled(const std::string& arguments, const std::string& out, int ranks = 1) {
    const CommandResult result = run(arguments + " --out=" + path(out), ranks);
    EXPECT_EQ(result.exit_code, 0) << result.output;
    return bytes_of(path(out));
  }

  static std::unique_ptr<tests::ScratchDirectory> scratch_;
};
std::unique_ptr<tests::ScratchDirectory> SampleProgram::scratch_;

const char* const kQuick = " --steps=3 --net_batch=4 --count=14 --seed=5";

TEST_F(SampleProgram, GivesTheSameBytesOnOneTwoAndThreeRanks) {
  for (const std::string kind : {"npz", "png"}) {
    const std::string arguments = "--weights_file=" + path("classes.safetensors") + kQuick;
    const std::string one = sampled(arguments, "one." + kind, 1);
    EXPECT_GT(one.size(), 100U);
    EXPECT_EQ(sampled(arguments, "two." + kind, 2), one);
    EXPECT_EQ(sampled(arguments, "three." + kind, 3), one);
  }
}

TEST_F(SampleProgram, GivesTheSameImagesForAnyCountAndMoreRanksThanBatches) {
  const std::string arguments = "--weights_file=" + path("plain.safetensors") + " --steps=3 --net_batch=4 --seed=5";
  sampled(arguments + " --count=14", "many.npz");
  sampled(arguments + " --count=2", "few.npz", 3);
  const auto many = data::read_npz(path("many.npz")), few = data::read_npz(path("few.npz"));
  EXPECT_EQ(few.count("arr_1"), 0U);
  EXPECT_EQ(few.at("arr_0").shape, (std::vector<int64_t>{2, 8, 8, 1}));
  const std::vector<uint8_t>& all = many.at("arr_0").bytes;
  EXPECT_EQ(few.at("arr_0").bytes, std::vector<uint8_t>(all.begin(), all.begin() + 2 * 64));
}

// Euler by hand: noise of sample i, the network at the grid's times with the sample's own label, bytes.
TEST_F(SampleProgram, IntegratesTheNetworksVelocityWithEachSamplesLabel) {
  sampled("--weights_file=" + path("classes.safetensors") +
              " --solver=euler --steps=4 --net_batch=4 --count=6 --seed=9 --labels=2,0 --threads=1",
          "euler.npz");
  const auto arrays = data::read_npz(path("euler.npz"));
  EXPECT_EQ(arrays.at("arr_1").as_int64(), (std::vector<int64_t>{2, 0, 2, 0, 2, 0}));
  models::UNet net(test::tiny_unet(3), 2);
  net.eval();
  const at::NoGradGuard no_grad;
  for (int64_t i = 0; i < 6; ++i) {
    at::Tensor x = flow::keyed_normal(9, Purpose::kSampleNoise, static_cast<uint64_t>(i), 1, {1, 8, 8});
    const at::Tensor label = at::tensor({i % 2 == 0 ? 2 : 0}, at::kLong);
    for (int step = 0; step < 4; ++step) x = x.add(net.forward(x, at::full({1}, step / 4.), label), 0.25);
    const at::Tensor bytes = flow::to_bytes(x);
    for (int64_t p = 0; p < 64; ++p) {
      const int found = arrays.at("arr_0").bytes[static_cast<size_t>(i * 64 + p)];
      EXPECT_NEAR(found, bytes.const_data_ptr<uint8_t>()[p], 1) << "image " << i << ", pixel " << p;
    }
  }
}

// Samples 0, 1, ... before they become bytes, as the programs draw them: float32 [count,1,8,8].
at::Tensor states_of(const std::string& file, const flow::OdeConfig& ode, int64_t net_batch, int64_t count) {
  WeightsChoice choice;
  choice.weights_file = file;
  const checkpoint::Weights weights = load_weights(choice);
  const NetworkFlow network = network_flow(weights, [](int64_t sample) { return sample % 3; });
  flow::SampleConfig config;
  config.ode = ode;
  config.ode.t_end = network.t_end;
  config.sigma0 = network.sigma0;
  config.net_batch = net_batch;
  config.seed = 5;
  at::Tensor states = at::empty({count, 1, 8, 8}, at::kFloat);
  flow::draw_samples(network.velocity, config, 0, count, {1, 8, 8}, at::kCPU,
                     [&](const flow::SampledImage& image) { states[image.sample].copy_(image.x); });
  return states;
}

double largest_difference(const at::Tensor& a, const at::Tensor& b) { return (a - b).abs().max().item<double>(); }

// Of any two of them.
double spread_of(const std::vector<at::Tensor>& all) {
  double spread = 0;
  for (size_t i = 0; i < all.size(); ++i)
    for (size_t j = 0; j < i; ++j) spread = std::max(spread, largest_difference(all[i], all[j]));
  return spread;
}

// On grids to rounding, of the states' range; on adaptive steps, whose control amplifies it, by less than the solver
// errs: from 200 steps of the fourth order.
TEST_F(SampleProgram, HardlyDependsOnTheBatchShape) {
  models::UNetConfig network = test::tiny_unet(3);
  network.time_scale = 1;  // a random network at 1000 is no smooth function of time
  const std::string file = path("smooth.safetensors");
  test::write_tiny_weights(file, network, 2);
  constexpr int64_t kCount = 12;
  const std::vector<int64_t> shapes{1, 7, 64};
  const auto at_shapes = [&](const flow::OdeConfig& ode) {
    std::vector<at::Tensor> all;
    for (const int64_t shape : shapes) all.push_back(states_of(file, ode, shape, kCount));
    return all;
  };
  for (const std::string solver : {"midpoint", "dp5"}) {
    flow::OdeConfig grid;
    grid.solver = solver;
    grid.steps = 6;
    const std::vector<at::Tensor> all = at_shapes(grid);
    const double range = (all[0].max() - all[0].min()).item<double>();
    EXPECT_LE(spread_of(all), 1e-6 * range) << solver;
    for (size_t i = 0; i < shapes.size(); ++i) {  // and they are what the program writes
      sampled("--weights_file=" + file + " --count=12 --seed=5 --steps=6 --solver=" + solver +
                  " --net_batch=" + std::to_string(shapes[i]),
              "shape.npz");
      const at::Tensor bytes = flow::to_bytes(all[i]).contiguous();
      const data::NumpyArray images = data::read_npz(path("shape.npz")).at("arr_0");
      ASSERT_EQ(images.bytes.size(), bytes.nbytes());
      EXPECT_EQ(std::memcmp(bytes.const_data_ptr<uint8_t>(), images.bytes.data(), bytes.nbytes()), 0) << shapes[i];
    }
  }
  flow::OdeConfig adaptive, fine;
  adaptive.solver = flow::kAdaptiveSolver;
  fine.solver = "rk4";
  fine.steps = 200;
  const std::vector<at::Tensor> all = at_shapes(adaptive);
  const double spread = spread_of(all), error = largest_difference(all[1], states_of(file, fine, 12, kCount));
  std::cout << "          states at 1e-5: spread over net_batch 1, 7, 64 " << spread << ", error " << error << "\n";
  EXPECT_LT(spread, error);
}

// One Euler step from the prior, v by the equations of each objective written out, from the network's own output.
TEST_F(SampleProgram, IntegratesTheVelocityOfEveryPathAndObjective) {
  const std::vector<std::pair<std::string, std::string>> pairs{
      {"ot", "fm"},        {"cosine", "fm"}, {"polynomial", "fm"}, {"vp", "fm"}, {"vp", "ddpm"},     {"vp", "sm"},
      {"vp", "scoreflow"}, {"ve", "fm"},     {"ve", "ddpm"},       {"ve", "sm"}, {"ve", "scoreflow"}};
  const at::NoGradGuard no_gradients;
  for (const auto& [path_name, objective] : pairs) {
    SCOPED_TRACE(path_name + " " + objective);
    flow::Path flow_path;
    flow_path.path = path_name;
    flow_path.ve_smax = 0.5;  // so that one step from there stays among the bytes
    flow_path.vp_b1 = 1;
    checkpoint::WeightsInfo info;
    info.path = path_name;
    info.objective = objective;
    info.path_parameters = flow::path_parameters(flow_path);
    info.t_end = flow::t_end(flow_path);
    info.sigma0 = flow::sigma0(flow_path);
    const std::string file = path(path_name + "_" + objective + ".safetensors");
    test::write_tiny_weights(file, test::tiny_unet(0), 4, 0, 0, info);
    const std::string out = path_name + "_" + objective + ".npz";
    sampled("--weights_file=" + file + " --solver=euler --steps=1 --net_batch=4 --count=4 --seed=5", out);

    const double s0 = path_name == "ve" ? 0.5 : 1, end = path_name == "ve" || path_name == "vp" ? 1 - 1e-5 : 1;
    const double sigma = path_name == "ve" ? 0.5 : std::sqrt(1 - std::exp(-0.55));
    const at::Tensor x = flow::keyed_normal(5, Purpose::kSampleNoise, 0, 4, {1, 8, 8}) * s0;
    const at::Tensor seen = path_name == "ve" ? x / std::sqrt(0.5) : x;
    const at::Tensor F = checkpoint::load_weights_file(file).net->forward(seen, at::zeros({4}));
    const bool of_score = objective == "sm" || objective == "scoreflow";
    const at::Tensor noise = of_score ? F * sigma : F;
    at::Tensor v = F;
    if (path_name == "ve") v = -std::log(25.0) * 0.5 * noise;                   // sigma' = -ln(smax/smin) sigma
    if (path_name == "vp" && objective != "fm") v = 0.5 * (x - noise / sigma);  // beta/2
    const at::Tensor expected = flow::to_bytes(x + end * v);
    const std::vector<uint8_t> found = data::read_npz(path(out)).at("arr_0").bytes;
    ASSERT_EQ(found.size(), 256U);
    for (size_t p = 0; p < found.size(); ++p) EXPECT_NEAR(found[p], expected.const_data_ptr<uint8_t>()[p], 1) << p;
  }
}

TEST_F(SampleProgram, TakesTheLongestEmaOfTheNewestCheckpointAndSaysSo) {
  const CommandResult result = run("--run_dir=" + path("run") + kQuick + " --out=" + path("run.png"));
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_TRUE(has(result.output, {"step_000000200/ema_0.9999.safetensors", "midpoint, 3 steps", "6 network evaluations",
                                  "14 of 1x8x8", "NFE an image", "run.png"}));
  const std::string raw = sampled("--weights=raw --step=100 --run_dir=" + path("run") + kQuick, "raw.npz");
  const std::string file =
      sampled("--weights_file=" + path("run/checkpoints/step_000000100/model.safetensors") + kQuick, "file.npz");
  EXPECT_EQ(raw, file);
}

TEST_F(SampleProgram, RefusesWhatWouldNotWorkAtOnceWithExitCode2) {
  const std::string run_dir = "--run_dir=" + path("run"), out = " --out=" + path("x.png");
  std::filesystem::create_directory(path("empty"));
  const std::vector<std::pair<std::string, std::vector<const char*>>> cases{
      {"--run_dir=" + path("none") + out, {"none", "no such folder"}},
      {"--run_dir=" + path("empty") + out, {"empty", "no checkpoints yet"}},
      {run_dir + out + " --weights=ema_0.5", {"--weights=ema_0.5", "raw, ema_0.9, ema_0.9999"}},
      {run_dir + out + " --step=7", {"--step=7", "100, 200"}},
      {run_dir + " --out=" + path("none/x.png"), {"--out=", "no folder"}},
      {run_dir + " --out=" + path("x.gif"), {"--out=", ".png"}},
      {run_dir + out + " --count=0", {"--count=0"}},
      {run_dir + out + " --solver=dopri", {"--solver=dopri", "midpoint"}},
      {run_dir + out + " --quantise=nearest", {"--quantise=nearest", "uniform, adm, edm"}},
      {run_dir + out + " --labels=1", {"--labels=1", "no classes"}},
      {run_dir + out + " --device=tpu", {"tpu"}},
      {run_dir + out + " --colums=3", {"--colums", "--columns"}},
      {out, {"--run_dir", "--weights_file"}},
      {run_dir + out + " --step_control=batch", {"--step_control=batch does nothing", "--solver=midpoint"}},
      {run_dir + out + " --solver=dopri5 --steps=50", {"--steps=50 does nothing", "--solver=dopri5"}},
      {run_dir + " --out=" + path("x.npz") + " --zoom=2", {"--zoom=2 does nothing", "x.npz"}},
      {"--weights_file=" + path("none.safetensors") + out, {"none.safetensors", "No such file"}},
      {"--weights_file=" + path("run/checkpoints/step_000000100/manifest.json") + out,
       {"manifest.json", "safetensors"}},
  };
  for (const auto& [arguments, parts] : cases) {
    const CommandResult result = run(arguments, 2);
    EXPECT_EQ(result.exit_code, 2) << arguments << "\n" << result.output;
    for (const char* part : parts) EXPECT_TRUE(has(result.output, {part})) << arguments;
    EXPECT_LT(result.seconds, 20) << arguments;
    const size_t first = result.output.find("cfm: error:");
    ASSERT_NE(first, std::string::npos) << result.output;
    EXPECT_EQ(result.output.find("cfm: error:", first + 1), std::string::npos) << "said twice: " << result.output;
  }
  EXPECT_FALSE(std::filesystem::exists(path("x.png")));
}

TEST_F(SampleProgram, NamesTheOtherWeightsWhenTheChosenOnesAreDamaged) {
  test::write_tiny_checkpoint(path("spoilt"), 100, 0, {0.9, 0.9999});
  const std::string file = path("spoilt/checkpoints/step_000000100/ema_0.9999.safetensors");
  test::flip_bit(file, bytes_of(file).size() / 2);
  const CommandResult result = run("--run_dir=" + path("spoilt") + " --out=" + path("x.png"));
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_TRUE(has(result.output, {file.c_str(), "damaged", "(raw, ema_0.9)", "--step"})) << result.output;
  EXPECT_EQ(
      run("--run_dir=" + path("spoilt") + " --weights=ema_0.9 --count=1 --steps=1 --out=" + path("x.png")).exit_code,
      0);
}

TEST_F(SampleProgram, ExplainsItselfOnAScreen) {
  const CommandResult result = run("--help", 2);
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_TRUE(has(result.output, {"--run_dir", "--solver", "midpoint", "cfm_sample --run_dir=runs/digits"}));
  EXPECT_LT(std::count(result.output.begin(), result.output.end(), '\n'), 60);
}

TEST_F(SampleProgram, TrajectoriesBeginAtTheNoiseAndEndAtTheSamplesHoweverTheseBecomeBytes) {
  const auto bytes_by = [](const std::string& quantise, const at::Tensor& y) {
    const at::Tensor levels = quantise == "uniform" ? (y + 1) * 128
                              : quantise == "adm"   ? (y + 1) * 127.5
                                                    : y * 127.5 + 128;
    return levels.floor().clamp(0, 255).to(at::kByte).contiguous();
  };
  const at::Tensor noise = flow::keyed_normal(5, Purpose::kSampleNoise, 0, 4, {1, 8, 8});
  for (const std::string quantise : {"uniform", "adm", "edm"}) {
    SCOPED_TRACE(quantise);
    const std::string arguments = "--weights_file=" + path("plain.safetensors") + " --steps=8 --net_batch=6 --count=4" +
                                  " --seed=5 --quantise=" + quantise;
    sampled(arguments + " --trajectories=" + path("t.npz"), "s.npz", 2);
    // The file is stored, not deflated: x [4,9,1,8,8] lies in it where the first sample's noise does.
    const std::string traced = bytes_of(path("t.npz"));
    const size_t at = traced.find(std::string(reinterpret_cast<const char*>(noise.const_data_ptr<float>()), 256));
    std::vector<float> values(size_t{4} * 9 * 64);
    ASSERT_TRUE(at != std::string::npos && at + values.size() * sizeof(float) <= traced.size());
    std::memcpy(values.data(), traced.data() + at, values.size() * sizeof(float));
    const at::Tensor x = at::tensor(values).view({4, 9, 1, 8, 8});
    EXPECT_TRUE(x.select(1, 0).equal(noise));
    const at::Tensor ends = bytes_by(quantise, x.select(1, 8));  // one channel: NCHW is NHWC
    const data::NumpyArray images = data::read_npz(path("s.npz")).at("arr_0");
    ASSERT_EQ(images.bytes.size(), ends.nbytes());
    EXPECT_EQ(std::memcmp(ends.const_data_ptr<uint8_t>(), images.bytes.data(), images.bytes.size()), 0);
  }
}

TEST_F(SampleProgram, TrajectoriesGoToAnNpz) {
  const CommandResult result = run("--weights_file=" + path("plain.safetensors") + kQuick + " --out=" + path("s.npz") +
                                   " --trajectories=" + path("t.png"));
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_TRUE(has(result.output, {"--trajectories", ".npz"})) << result.output;
}

}  // namespace
}  // namespace cfm::evaluator
