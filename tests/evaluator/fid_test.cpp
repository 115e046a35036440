// cfm_eval_fid itself, on one rank and on several.
#include "evaluator/fid.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>

#include "checkpoint/safetensors.h"
#include "data/image_file.h"
#include "flow/draws.h"
#include "support/error_text.h"
#include "support/feature_sets.h"
#include "support/fid_program.h"
#include "support/file_bytes.h"
#include "support/training_run.h"
#include "support/unfit_files.h"

namespace cfm::evaluator {
namespace {

using nlohmann::json;
using test::CommandResult;
using test::digit_bytes;
using test::has;

class EvalFid : public test::FidProgram {
 protected:
  static std::string of_classes() { return "--weights_file=" + path("classes.safetensors") + " " + digits() + " "; }
  static const json& swept() {
    static const json result = result_of(
        of_classes() + reference() + " --count=8 --net_batch=4 --sweep --sweep_nfe=2,24 --sweep_tolerances=1e-2,1e-5",
        "swept", 2, "cache", "fid_sweep");
    return result;
  }
  // The point of a sweep, by its solver and its number of steps or tolerance.
  static json point_of(const std::string& solver, double setting) {
    for (const json& one : swept()["curve"])
      if (one.value("solver", "") == solver && one.value(one.contains("steps") ? "steps" : "tolerance", 0.0) == setting)
        return one;
    ADD_FAILURE() << solver << " " << setting << " is not in " << swept();
    return {{"fid", NAN}, {"nfe", NAN}, {"rms_error", NAN}};
  }
};

TEST_F(EvalFid, IsSmallBetweenRealDigitsAndLargeForNoise) {
  std::vector<uint8_t> noise(600 * 64);
  for (size_t i = 0; i < noise.size(); ++i) noise[i] = static_cast<uint8_t>((i * 2654435761U) >> 13);
  test::write_image_npz(path("noise.npz"), noise);
  const std::string flags = digits() + " " + reference();
  const json real = result_of(flags + samples_flag(path("others.npz")), "real");
  const json same = result_of(flags + samples_flag(path("data")), "same");
  const json worst = result_of(flags + samples_flag(path("noise.npz")), "worst");
  test::write_image_npz(path("reference.npz"), digit_bytes(0, 600));
  const json of_npz =
      result_of(digits() + " --reference=" + path("reference.npz") + samples_flag(path("others.npz")), "of_npz");
  EXPECT_EQ(numbers_of(of_npz), numbers_of(real)) << "the reference of shards, as arr_0";
  const double traces = worst["fid"]["mean"];
  EXPECT_NEAR(same["fid"]["mean"].get<double>(), 0, 1e-6);
  EXPECT_GT(real["fid"]["mean"].get<double>(), 0.0);
  EXPECT_LT(real["fid"]["mean"].get<double>(), 0.05 * traces);
  EXPECT_LT(real["kid"]["mean"].get<double>(), 0.05 * worst["kid"]["mean"].get<double>());
  EXPECT_GT(real["precision"]["mean"].get<double>(), 0.6);
  EXPECT_GT(real["recall"]["mean"].get<double>(), 0.6);
  EXPECT_LT(worst["precision"]["mean"].get<double>(), 0.3);
  EXPECT_GT(real["is_10_splits"]["mean"].get<double>(), 7);  // ten digits, well told apart
  EXPECT_TRUE(real["rank_deficient"].empty());
  EXPECT_FALSE(real.contains("sfid"));
  EXPECT_EQ(real["protocol"]["quantisation"], "bytes as given");
  EXPECT_EQ(real["reference"]["split"], "train");
  EXPECT_TRUE(real["images"]["split"].is_null());  // an .npz does not say
  EXPECT_EQ(same["images"]["split"], "train");
}

TEST_F(EvalFid, OtherProtocolsOfKidPrecisionAndRecallAreSaidInTheResult) {
  const std::string common = digits() + " " + reference() + samples_flag(path("others.npz"));
  const json usual = result_of(common, "usual"),
             small = result_of(common + " --kid_subset_size=50 --kid_subsets=7 --reference_features=120", "small", 2);
  EXPECT_EQ(small["repeats"][0]["kid"]["subsets"], 7);
  EXPECT_EQ(small["repeats"][0]["kid"]["subset_size"], 50);
  EXPECT_EQ(small["reference_features_kept"], 120);
  EXPECT_EQ(small["settings"]["kid"]["subset_size"], 50);
  EXPECT_EQ(small["settings"]["reference"]["features_kept"], 120);
  EXPECT_EQ(usual["reference_features_kept"], 600);  // all there are
  EXPECT_EQ(small["fid"], usual["fid"]);             // of all reference images
  EXPECT_NE(small["precision"], usual["precision"]);
  EXPECT_NEAR(small["kid"]["mean"].get<double>(), usual["kid"]["mean"].get<double>(),
              10 * small["repeats"][0]["kid"]["deviation"].get<double>());
  const json close = result_of(common + " --neighbours=1", "close");
  EXPECT_EQ(close["settings"]["neighbours"], 1);
  EXPECT_EQ(close["fid"], usual["fid"]);
  EXPECT_LT(close["precision"]["mean"], usual["precision"]["mean"]);  // the neighbourhoods are smaller
  EXPECT_LT(close["recall"]["mean"], usual["recall"]["mean"]);
  const CommandResult other = run(common + " --tag=close " + results());
  EXPECT_EQ(other.exit_code, 2) << "a result of other settings: " << other.output;
  EXPECT_TRUE(has(other.output, {"neighbours: there 1, here none"}));
  const json none = result_of(common + " --neighbours=600", "none");  // of 600 images
  EXPECT_FALSE(none.contains("precision"));
  EXPECT_TRUE(has(none["not_measured"].get<std::string>(), {"precision and recall", "--neighbours"}));
}

// 2 repeats of 2 blocks each.
std::string drawn_flags() {
  return " --count=520 --repeats=2 --net_batch=64 --atol=1e-1 --rtol=1e-1 --seed=3 --max_nfe=1000";
}

TEST_F(EvalFid, GivesTheSameNumbersOnOneTwoAndThreeRanks) {
  const std::string flags = "--weights_file=" + path("classes.safetensors") + " " + digits() + " " + reference() +
                            drawn_flags() + " --keep_samples=";
  const json one = result_of(flags + path("one.npz"), "one", 1, "cache1");
  const json two = result_of(flags + path("two.npz"), "two", 2, "cache2");
  const json three = result_of(flags + path("three.npz"), "three", 3, "cache3");
  ASSERT_EQ(one["repeats"].size(), 2U);
  EXPECT_EQ(numbers_of(one), numbers_of(two));
  EXPECT_EQ(numbers_of(one), numbers_of(three));
  EXPECT_EQ(one["settings"], three["settings"]);
  EXPECT_EQ(test::bytes_of(path("one.npz")), test::bytes_of(path("two.npz")));
  EXPECT_EQ(test::bytes_of(path("one.npz")), test::bytes_of(path("three.npz")));
  EXPECT_EQ(one["repeats"][1]["first_sample"], 576);  // whole batches of 64
  EXPECT_NE(one["repeats"][0]["fid"], one["repeats"][1]["fid"]);
  EXPECT_GT(one["repeats"][0]["nfe"].get<double>(), 7);  // 2 for the first step, 6 a step
}

TEST_F(EvalFid, SaysTheLeastTheMeanAndTheMostOfItsRepeats) {
  const json result =
      result_of(of_classes() + reference() + " --count=48 --repeats=3 --solver=euler --steps=2 --net_batch=16",
                "three-repeats", 2);
  ASSERT_EQ(result["repeats"].size(), 3U);
  for (const std::string name : {"fid", "is_10_splits", "is_splits_of_5000", "kid", "precision", "recall"}) {
    std::vector<double> values;
    for (const json& repeat : result["repeats"])
      values.push_back((repeat[name].is_object() ? repeat[name]["mean"] : repeat[name]).get<double>());
    std::ranges::sort(values);
    EXPECT_EQ(result[name]["min"].get<double>(), values[0]) << name;
    EXPECT_EQ(result[name]["max"].get<double>(), values[2]) << name;
    EXPECT_NEAR(result[name]["mean"].get<double>(), (values[0] + values[1] + values[2]) / 3, 1e-9) << name;
  }
  EXPECT_LT(result["fid"]["min"].get<double>(), result["fid"]["max"].get<double>());
}

// A pixel is another level only where its value stands that near to one's edge.
TEST_F(EvalFid, ItsImagesHardlyDependOnTheBatchShape) {
  std::vector<std::vector<uint8_t>> all;
  for (const std::string shape : {"1", "7", "64"}) {
    const std::string kept = path("shape" + shape + ".npz");
    result_of(of_classes() + reference() + " --count=12 --repeats=1 --solver=dp5 --steps=4 --net_batch=" + shape +
                  " --keep_samples=" + kept,
              "shape" + shape);
    all.push_back(data::read_npz(kept).at("arr_0").bytes);
    ASSERT_EQ(all.back().size(), 12U * 64);
  }
  int64_t others = 0;
  for (size_t i = 0; i < all[0].size(); ++i)
    for (const size_t shape : {1, 2}) {
      const int levels = std::abs(all[0][i] - all[shape][i]);
      EXPECT_LE(levels, 1) << i;
      others += levels;
    }
  EXPECT_LE(others, 4);  // of 1,536: 128 levels 1e-6 apart would make 0.2
}

TEST_F(EvalFid, OfSamplesThatWereNotKeptIsNotTakenForOneWhoseSamplesWere) {
  const std::string flags = "--weights_file=" + path("classes.safetensors") + " " + digits() + " " + reference() +
                            " --count=40 --repeats=1 --solver=euler --steps=2 " + results() + " --tag=unkept";
  ASSERT_EQ(run(flags).exit_code, 0);
  const std::string bytes = test::bytes_of(result_file("unkept")), keep = " --keep_samples=" + path("late.npz");
  const CommandResult late = run(flags + keep);
  EXPECT_EQ(late.exit_code, 2);
  EXPECT_TRUE(has(late.output, {"late.npz", "is there already", result_file("unkept").c_str(), "--tag"}));
  EXPECT_FALSE(std::filesystem::exists(path("late.npz")));
  EXPECT_EQ(test::bytes_of(result_file("unkept")), bytes);
}

TEST_F(EvalFid, OfOneSetOfSamplesIsTheSameHoweverManyAreDrawnBesideThem) {
  const std::string flags = "--weights_file=" + path("classes.safetensors") + " " + digits() + " " + reference() +
                            " --repeats=1 --solver=euler --steps=2 --net_batch=32 --keep_samples=";
  result_of(flags + path("few.npz") + " --count=40", "few", 2);
  result_of(flags + path("many.npz") + " --count=700", "many", 1);
  const auto few = data::read_npz(path("few.npz")).at("arr_0").bytes;
  const auto many = data::read_npz(path("many.npz")).at("arr_0").bytes;
  ASSERT_EQ(few.size(), 40U * 64);
  EXPECT_TRUE(std::equal(few.begin(), few.end(), many.begin()));
}

// cfm_sample draws along every path; its images are the ones that are measured.
TEST_F(EvalFid, MeasuresTheImagesThatSamplingGivesAlongAnyPath) {
  for (const std::string file : {"classes.safetensors", "ve.safetensors"}) {
    const std::string solver = " --count=70 --solver=heun2 --steps=4 --net_batch=16 --seed=5";
    const CommandResult sampled = test::run_command(CFM_BIN_DIR "/cfm_sample --weights_file=" + path(file) + solver +
                                                    " --out=" + path("sampled.npz"));
    ASSERT_EQ(sampled.exit_code, 0) << sampled.output;
    const std::string kept = path(file + ".npz");
    result_of("--weights_file=" + path(file) + " " + digits() + " " + reference() + solver +
                  " --repeats=1 --keep_samples=" + kept,
              "path-" + file, 2);
    EXPECT_EQ(test::bytes_of(kept), test::bytes_of(path("sampled.npz"))) << file;
  }
}

TEST_F(EvalFid, OfKeptSamplesIsThatOfTheDrawnOnesHoweverTheyLie) {
  const std::string common = digits() + " " + reference();
  const json drawn =
      result_of("--weights_file=" + path("classes.safetensors") + " " + common +
                    " --count=100 --repeats=1 --solver=euler --steps=2 --keep_samples=" + path("kept.npz"),
                "drawn", 2);
  const auto arrays = data::read_npz(path("kept.npz"));
  ASSERT_EQ(arrays.at("arr_0").shape, (std::vector<int64_t>{100, 8, 8, 1}));
  ASSERT_EQ(arrays.at("arr_1").shape, (std::vector<int64_t>{100}));
  const std::vector<uint8_t>& bytes = arrays.at("arr_0").bytes;
  std::filesystem::create_directories(path("pictures"));
  for (int64_t i = 0; i < 100; ++i) {
    const std::vector<uint8_t> pixels(bytes.begin() + i * 64, bytes.begin() + (i + 1) * 64);
    data::write_png(path("pictures/" + std::to_string(1000 + i) + ".png"), {{1, 8, 8}, pixels});
  }
  test::write_image_shard(path("kept.h5"), bytes);
  for (const std::string place : {"kept.npz", "pictures", "kept.h5"}) {
    const json scored = result_of(common + samples_flag(path(place)), "of-" + place);
    EXPECT_EQ(scored["fid"], drawn["fid"]) << place;
    EXPECT_EQ(scored["recall"], drawn["recall"]) << place;
  }
  EXPECT_EQ(drawn["rank_deficient"].size(), 1U);  // 100 samples for 32 dimensions
  EXPECT_EQ(drawn["protocol"]["quantisation"], "floor(128 (y + 1)) clamped to 0..255");

  const json by_edm = result_of(
      "--weights_file=" + path("classes.safetensors") + " " + common +
          " --count=100 --repeats=1 --solver=euler --steps=2 --quantise=edm --keep_samples=" + path("edm.npz"),
      "edm");
  EXPECT_EQ(by_edm["protocol"]["quantisation"], "floor(127.5 y + 128) clamped to 0..255");
  EXPECT_NE(by_edm["fid"], drawn["fid"]);
  const std::vector<uint8_t> others = data::read_npz(path("edm.npz")).at("arr_0").bytes;
  for (size_t i = 0; i < bytes.size(); ++i) ASSERT_LE(std::abs(bytes[i] - others[i]), 1) << i;
}

TEST_F(EvalFid, TakesTheFirstImagesOfOthersIfACountIsGiven) {
  const std::string common = digits() + " " + reference();
  test::write_image_npz(path("few.npz"), digit_bytes(600, 100));
  const json few = result_of(common + samples_flag(path("few.npz")), "all-of-few");
  const json first = result_of(common + samples_flag(path("others.npz")) + " --count=100", "first-of-many", 2);
  EXPECT_EQ(first["samples"], 100);
  EXPECT_EQ(first["fid"], few["fid"]);
  EXPECT_EQ(first["kid"], few["kid"]);
}

TEST_F(EvalFid, OfACheckpointGoesIntoItsRunAndIsNotMadeTwice) {
  const std::string flags = "--run_dir=" + path("run") + " " + digits() + " " + reference() +
                            " --count=64 --repeats=1 --solver=euler --steps=1";
  const CommandResult first = run(flags);
  ASSERT_EQ(first.exit_code, 0) << first.output;
  EXPECT_TRUE(has(first.output, {"step 100", "ema_0.9", "cost", "rank-deficient", "fid", "written"}));
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(path("run/results"))) files.push_back(entry.path());
  ASSERT_EQ(files.size(), 1U);  // nothing but the result
  EXPECT_TRUE(files[0].filename().string().starts_with("fid-step_000000100-")) << files[0];
  const std::string bytes = test::bytes_of(files[0]);
  const json result = json::parse(bytes);
  EXPECT_EQ(result["settings"]["samples"]["weights_xxh3_128"],
            checkpoint::file_hash(path("run/checkpoints/step_000000100/ema_0.9.safetensors")));
  EXPECT_EQ(result["settings"]["features"]["xxh3_128"],
            checkpoint::file_hash(CFM_SOURCE_DIR "/configs/digits/features.safetensors"));
  EXPECT_EQ(result["settings"]["features"]["name"], "digits");
  EXPECT_TRUE(result["settings"]["reference"].contains("dataset_fingerprint"));
  EXPECT_FALSE(result["reference"]["identity"]["dataset_images_fingerprint"].get<std::string>().empty());
  const CommandResult again = run(flags, 2);
  EXPECT_EQ(again.exit_code, 0);
  EXPECT_TRUE(has(again.output, {"the result is there already", files[0].filename().c_str()}));
  EXPECT_EQ(test::bytes_of(files[0]), bytes);
  const CommandResult other = run(flags + " --seed=1");
  EXPECT_EQ(other.exit_code, 0) << other.output;
  EXPECT_TRUE(has(other.output, {"cache "}));  // the reference's statistics are known by now
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(path("run/results")), {}), 2);
  const std::string tag = result["tag"].get<std::string>();
  const CommandResult refused = run(flags + " --seed=2 --tag=" + tag);
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_TRUE(has(refused.output, {"seed: there 0, here 2", "--tag"}));
}

TEST_F(EvalFid, DrawsAgainWhatIsDamagedInTheCache) {
  const std::string flags = digits() + " " + reference() + samples_flag(path("others.npz"));
  const json first = result_of(flags, "cached-1", 1, "damaged");
  for (const auto& entry : std::filesystem::recursive_directory_iterator(path("damaged")))
    if (entry.is_regular_file()) test::flip_bit(entry.path(), std::filesystem::file_size(entry.path()) - 100);
  const json second = result_of(flags, "cached-2", 1, "damaged");
  EXPECT_EQ(numbers_of(first), numbers_of(second));
  EXPECT_EQ(second["reference"]["statistics"], "computed from the images");
  const json third = result_of(flags, "cached-3", 1, "damaged");
  EXPECT_TRUE(third["reference"]["statistics"].get<std::string>().starts_with("cache ")) << third["reference"];
}

TEST_F(EvalFid, SweepsSolversFromOneSetOfNoises) {
  EXPECT_EQ(swept()["metric"], "fid_sweep");
  std::map<std::string, double> errors, nfe;
  for (const json& point : swept()["curve"]) {
    const std::string name = point["solver"].get<std::string>() + "/" +
                             (point.contains("steps") ? point["steps"] : point["tolerance"]).dump();
    errors[name] = point["rms_error"];
    nfe[name] = point["nfe"];
  }
  ASSERT_EQ(errors.size(), 14U);  // six solvers, twice; 2 tolerances
  EXPECT_LT(errors.at("euler/24"), errors.at("euler/2"));
  EXPECT_LT(errors.at("midpoint/12"), errors.at("midpoint/1"));
  EXPECT_LT(errors.at("rk4/6"), errors.at("euler/24"));
  EXPECT_LT(errors.at("dopri5/1e-05"), errors.at("dopri5/0.01"));
  EXPECT_EQ(nfe.at("dp5/4"), 24);
  EXPECT_EQ(nfe.at("dp5/1"), 6);  // its real cost, though 2 was asked for
  EXPECT_EQ(swept()["exact"]["samples"], 8);
  EXPECT_EQ(swept()["rank_deficient"].size(), 1U);  // of eight samples for 32 dimensions
  EXPECT_GT(nfe.at("dopri5/1e-05"), nfe.at("dopri5/0.01"));
}

TEST_F(EvalFid, APointOfASweepIsWhatItsSolverGivesAlone) {
  const std::string common = of_classes() + reference() + " --count=8 --net_batch=4 --repeats=1 ";
  const json midpoint = result_of(common + "--solver=midpoint --steps=1", "midpoint-alone"),
             dopri5 = result_of(common + "--atol=1e-2 --rtol=1e-2", "dopri5-alone");
  EXPECT_EQ(point_of("midpoint", 1)["fid"], midpoint["repeats"][0]["fid"]);
  EXPECT_EQ(point_of("midpoint", 1)["nfe"], 2);
  EXPECT_EQ(point_of("dopri5", 1e-2)["fid"], dopri5["repeats"][0]["fid"]);
  EXPECT_EQ(point_of("dopri5", 1e-2)["nfe"], dopri5["repeats"][0]["nfe"]);
}

// The solvers by hand, the network in float64, a hundred steps of the fourth order for the exact solution.
TEST_F(EvalFid, TheErrorsOfASweepAreThoseOfItsSamplesBeforeTheyBecomeBytes) {
  models::UNet net(network_of_classes(), 2);
  net.eval();
  net.to(at::kDouble);
  const at::NoGradGuard no_grad;
  const at::Tensor classes = at::arange(8, at::kLong).remainder(3);
  const auto v = [&](const at::Tensor& x, double t) { return net.forward(x, at::full({8}, t, at::kDouble), classes); };
  const auto after = [&](int steps, const std::function<at::Tensor(const at::Tensor&, double t, double h)>& slope) {
    at::Tensor x = flow::keyed_normal(0, Purpose::kSampleNoise, 0, 8, {1, 8, 8}).to(at::kDouble);
    const double h = 1.0 / steps;
    for (int i = 0; i < steps; ++i) x = x + slope(x, i * h, h) * h;
    return x;
  };
  const auto euler = [&](const at::Tensor& x, double t, double) { return v(x, t); };
  const auto midpoint = [&](const at::Tensor& x, double t, double h) { return v(x + v(x, t) * (h / 2), t + h / 2); };
  const at::Tensor exact = after(100, [&](const at::Tensor& x, double t, double h) {
    const at::Tensor k1 = v(x, t), k2 = v(x + k1 * (h / 2), t + h / 2), k3 = v(x + k2 * (h / 2), t + h / 2);
    return (k1 + 2 * k2 + 2 * k3 + v(x + k3 * h, t + h)) / 6;
  });
  const auto expect_error = [&](const std::string& solver, int steps, const at::Tensor& x) {
    const double expected = (x - exact).square().mean().sqrt().item<double>();
    EXPECT_NEAR(point_of(solver, steps)["rms_error"].get<double>(), expected, 1e-3 * expected)
        << solver << " " << steps;
  };
  expect_error("euler", 2, after(2, euler));
  expect_error("euler", 24, after(24, euler));
  expect_error("midpoint", 1, after(1, midpoint));
}

TEST_F(EvalFid, RefusesWhatWouldNotWorkAtOnceWithExitCode2AndWithoutAResult) {
  const std::string weights = "--weights_file=" + path("classes.safetensors"),
                    out = " --results_dir=" + path("refused");
  const std::string good = weights + " " + digits() + " " + reference() + out + " --count=64";
  const std::string others = digits() + " " + reference() + out;
  const std::string features = CFM_SOURCE_DIR "/configs/digits/features.safetensors";
  const std::string bytes = test::bytes_of(features);
  test::put_bytes(path("cut.safetensors"), bytes.substr(0, bytes.size() - 100));
  auto tensors = checkpoint::read_safetensors(features).tensors;
  tensors.front().second.flatten()[0] = NAN;
  checkpoint::write_safetensors(path("nan.safetensors"), tensors, {});
  auto network = checkpoint::read_safetensors(path("classes.safetensors"));
  network.tensors.back().second.flatten()[0] = NAN;
  checkpoint::write_safetensors(path("nan_network.safetensors"), network.tensors, network.metadata);
  test::write_truncated(path("cut_network.safetensors"), path("classes.safetensors"));
  test::write_weights_of_another_network(path("other_network.safetensors"), network_of_classes());
  std::filesystem::create_directory(path("none"));
  test::write_shard_without_images(path("none/images.h5"), {1, 8, 8});
  const auto doubles = [](std::vector<int64_t> shape, const at::Tensor& values) {
    data::NumpyArray array{"<f8", std::move(shape), std::vector<uint8_t>(values.nbytes())};
    std::memcpy(array.bytes.data(), values.const_data_ptr<double>(), values.nbytes());
    return array;
  };
  data::write_npz(path("statistics.npz"), {{"mu", doubles({32}, at::zeros({32}, at::kDouble))},
                                           {"sigma", doubles({32, 32}, at::eye(32, at::kDouble))}});
  std::filesystem::create_directory(path("empty"));
  test::write_image_npz(path("zero.npz"), {});
  data::write_npz(path("floats.npz"), {{"arr_0", {"<i4", {1}, {0, 0, 0, 0}}}});
  data::write_npz(path("large.npz"), {{"arr_0", {"|u1", {2, 16, 16, 1}, std::vector<uint8_t>(512)}}});
  test::write_image_npz(path("one.npz"), digit_bytes(0, 1));
  const std::vector<std::pair<std::string, std::vector<const char*>>> cases{
      {"--count=64", {"--run_dir and --weights_file", "--reference", "--features", "--results_dir"}},
      {weights + " " + reference() + out + " --features=digits", {"--features=digits", "inception:FILE"}},
      {weights + " " + reference() + out + " --features=dino:x", {"--features=dino:x"}},
      {weights + " " + reference() + out + " --features=inception:" + features,
       {"features.safetensors", "Conv2d_1a_3x3.conv.weight", "missing", "convert_inception"}},
      {weights + " " + reference() + out + " --features=digits:" + path("classes.safetensors"),
       {"classes.safetensors", "conv1.weight", "missing"}},
      {weights + " " + reference() + out + " --features=digits:" + path("cut.safetensors"), {"cut.safetensors"}},
      {weights + " " + reference() + out + " --features=digits:" + path("nan.safetensors"),
       {"nan.safetensors", "not finite"}},
      {"--weights_file=" + path("nan_network.safetensors") + " " + others, {"nan_network.safetensors", "not finite"}},
      {"--weights_file=" + path("cut_network.safetensors") + " " + others, {"cut_network.safetensors", "truncated"}},
      {"--weights_file=" + path("other_network.safetensors") + " " + others,
       {"other_network.safetensors", "tensor", "expected", "the file's own description"}},
      {weights + " " + digits() + out + " --reference=" + path("nothing"), {"--reference", "nothing", "no such"}},
      {weights + " " + digits() + out + " --reference=" + path("none"),
       {"none/images.h5", "(0,1,8,8)", "nothing in it"}},
      {weights + " " + digits() + out +
           " --kid_subsets=100 --kid_subset_size=50 --reference_features=9 --reference=" + path("statistics.npz"),
       {"--kid_subsets=100 does nothing", "--kid_subset_size=50 does nothing", "--reference_features=9 does nothing",
        "statistics.npz holds statistics alone"}},
      {weights + " " + digits() + out + " --reference=" + path("one.npz"), {"one.npz", "at least 2"}},
      {weights + " " + digits() + out + " --reference=" + path("large.npz"), {"8x8", "1x16x16"}},
      {others + samples_flag(path("empty")), {"--samples", "empty", "no pictures"}},
      {others + samples_flag(path("zero.npz")), {"zero.npz", "no images"}},
      {others + samples_flag(path("floats.npz")), {"floats.npz", "int32", "uint8"}},
      {others + samples_flag(path("one.npz")), {"one.npz", "at least 2"}},
      {others + samples_flag(path("large.npz")), {"8x8", "1x16x16"}},
      {others + samples_flag(path("others.npz")) + " " + weights, {"one of the four"}},
      {others + samples_flag(path("others.npz")) + " --sweep", {"--sweep"}},
      {good + " --repeats=0", {"--repeats=0"}},
      {good + " --kid_subset_size=1", {"--kid_subset_size=1"}},
      {good + " --reference_features=1", {"--reference_features=1"}},
      {good + " --labels=9", {"--labels=9", "0..2"}},
      {good + " --solver=dopri", {"--solver=dopri", "midpoint"}},
      {good + " --keep_samples=" + path("nowhere/x.npz"), {"--keep_samples", "no folder"}},
      {good + " --sweep --sweep_nfe=8,x", {"--sweep_nfe=8,x"}},
      {good + " --sweep --sweep_tolerances=2", {"--sweep_tolerances=2"}},
      {good + " --tag=../x", {"--tag=../x"}},
      {good + " --steps=3 --grid=edm", {"--steps=3 does nothing", "--grid=edm does nothing", "--solver=dopri5"}},
      {good + " --solver=dp5 --rtol=1e-5", {"--rtol=1e-05 does nothing", "--solver=dp5"}},
      {good + " --sweep_nfe=8", {"--sweep_nfe=8 does nothing", "--sweep"}},
      {good + " --sweep --repeats=3 --atol=1e-3", {"--repeats=3", "--atol=0.001", "--sweep"}},
      {others + samples_flag(path("others.npz")) + " --repeats=3 --net_batch=8", {"--repeats=3", "--net_batch=8"}},
      {others + samples_flag(path("others.npz")) + " --count=601", {"--count=601", "600 images"}},
  };
  for (const auto& [arguments, parts] : cases) {
    const CommandResult result = run(arguments, 2);
    EXPECT_EQ(result.exit_code, 2) << arguments << "\n" << result.output;
    for (const char* part : parts) EXPECT_TRUE(has(result.output, {part})) << arguments;
    const size_t first = result.output.find("cfm: error:");
    ASSERT_NE(first, std::string::npos) << result.output;
    EXPECT_EQ(result.output.find("cfm: error:", first + 1), std::string::npos) << "said twice: " << result.output;
    EXPECT_FALSE(std::filesystem::exists(path("refused"))) << arguments;
  }
}

TEST_F(EvalFid, ExplainsItselfOnAScreen) {
  const CommandResult result = run("--help", 2);
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_TRUE(has(result.output, {"--reference", "--features", "--sweep", "cfm_eval_fid --run_dir=runs/digits"}));
  EXPECT_LT(std::count(result.output.begin(), result.output.end(), '\n'), 75);
}

}  // namespace
}  // namespace cfm::evaluator
