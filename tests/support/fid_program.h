#pragma once
// Runs of cfm_eval_fid on digits, with a cache of its own.

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "data/npz.h"
#include "data/shard_writer.h"
#include "flow/path.h"
#include "support/scratch_directory.h"
#include "support/subprocess.h"
#include "support/tiny_weights.h"

namespace cfm::test {

// Digits first .. first + count - 1, uint8 [count,8,8], as bytes in the middle of their grey level's range.
inline std::vector<uint8_t> digit_bytes(int64_t first, int64_t count) {
  const auto levels = data::read_npz(CFM_SOURCE_DIR "/configs/digits/digits.npz").at("images").bytes;
  std::vector<uint8_t> bytes(levels.begin() + first * 64, levels.begin() + (first + count) * 64);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>((2 * byte + 1) * 128 / 17);
  return bytes;
}

inline void write_image_npz(const std::filesystem::path& file, const std::vector<uint8_t>& bytes) {
  data::write_npz(file, {{"arr_0", {"|u1", {static_cast<int64_t>(bytes.size() / 64), 8, 8, 1}, bytes}}});
}

inline void write_image_shard(const std::filesystem::path& file, const std::vector<uint8_t>& bytes) {
  const auto count = static_cast<int64_t>(bytes.size() / 64);
  data::ShardWriter writer(file, {1, 8, 8}, count, {{"split", file.stem().string()}});
  for (int64_t i = 0; i < count; ++i) {
    const auto at = bytes.begin() + i * 64;
    writer.append(std::vector<uint8_t>(at, at + 64), i % 10);
  }
  writer.finish();
}

class FidProgram : public testing::Test {
 protected:
  static std::string path(const std::string& name) { return (scratch() / name).string(); }
  static const tests::ScratchDirectory& scratch() { return *slot(); }
  static std::unique_ptr<tests::ScratchDirectory>& slot() {
    static std::unique_ptr<tests::ScratchDirectory> scratch;
    return scratch;
  }

  static models::UNetConfig network_of_classes() {
    models::UNetConfig network = tiny_unet(3);
    network.time_scale = 1;  // a random network at 1000 is no smooth function of time
    return network;
  }

  // 600 real digits as train.h5, 600 others as others.npz, a network that was never trained, and a run of it.
  static void SetUpTestSuite() {
    slot() = std::make_unique<tests::ScratchDirectory>();
    ::setenv("XDG_CACHE_HOME", path("cache").c_str(), 1);  // of programs that are not told another one
    std::filesystem::create_directories(scratch() / "data");
    write_image_shard(scratch() / "data" / "train.h5", digit_bytes(0, 600));
    write_image_npz(scratch() / "others.npz", digit_bytes(600, 600));
    const models::UNetConfig network = network_of_classes();
    write_tiny_weights(scratch() / "classes.safetensors", network, 2);
    checkpoint::WeightsInfo info;  // of another path: its noise is wide, its end is not 1
    flow::Path ve;
    ve.path = "ve";
    info.path = ve.path;
    info.path_parameters = flow::path_parameters(ve);
    info.t_end = flow::t_end(ve);
    info.sigma0 = flow::sigma0(ve);
    write_tiny_weights(scratch() / "ve.safetensors", network, 2, 0, 0, info);
    write_tiny_checkpoint(scratch() / "run", 100, 0, {0.9});
  }
  static void TearDownTestSuite() {
    ::unsetenv("XDG_CACHE_HOME");
    slot().reset();
  }

  static std::string digits() { return "--features=digits:" CFM_SOURCE_DIR "/configs/digits/features.safetensors"; }
  static std::string reference() { return "--reference=" + path("data"); }

  static CommandResult run(const std::string& arguments, int ranks = 1, const std::string& cache = "cache") {
    return run_command("XDG_CACHE_HOME=" + path(cache) + " OMP_NUM_THREADS=1 " CFM_MPIRUN " -n " +
                           std::to_string(ranks) + " " CFM_BIN_DIR "/cfm_eval_fid " + arguments,
                       /*limit_seconds=*/300);
  }
  static std::string samples_flag(const std::string& place) { return " --samples=" + place; }
  static std::string results() { return "--results_dir=" + path("results"); }
  static std::string result_file(const std::string& tag, const std::string& metric = "fid") {
    return path("results/" + metric + "-step_000000000-" + tag + ".json");
  }
  // The result of a run that must succeed.
  static nlohmann::json result_of(const std::string& arguments, const std::string& tag, int ranks = 1,
                                  const std::string& cache = "cache", const std::string& metric = "fid") {
    const CommandResult result = run(arguments + " " + results() + " --tag=" + tag, ranks, cache);
    EXPECT_EQ(result.exit_code, 0) << result.output;
    return nlohmann::json::parse(std::ifstream(result_file(tag, metric)), nullptr, /*allow_exceptions=*/false);
  }
  // Everything but the settings and the machine.
  static nlohmann::json numbers_of(const nlohmann::json& result) {
    nlohmann::json numbers = result;
    for (const char* key :
         {"tag", "settings", "command", "reference", "machine", "written", "seconds", "images", "samples_file"})
      numbers.erase(key);
    return numbers;
  }
};

}  // namespace cfm::test
