#pragma once
// Runs of cfm_eval_nll, with results of their own.

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "data/image_file.h"
#include "support/file_bytes.h"
#include "support/scratch_directory.h"
#include "support/shard_files.h"
#include "support/subprocess.h"
#include "support/tiny_weights.h"
#include "support/training_run.h"

namespace cfm::test {

inline models::UNetConfig slow_unet(int64_t classes, bool null_class = false) {
  models::UNetConfig config = tiny_unet(classes, null_class);
  config.time_scale = 1;  // a random network at 1000 is no smooth function of time
  return config;
}

// Runs of cfm_eval_nll on 40 images, with networks that were never trained.
class NllProgram : public testing::Test {
 protected:
  static constexpr data::ImageShape kShape{1, 8, 8};

  static void SetUpTestSuite() {
    scratch_ = std::make_unique<tests::ScratchDirectory>();
    write_tiny_weights(path("plain.safetensors"), slow_unet(0), 1, 0, 300);
    write_tiny_weights(path("classes.safetensors"), slow_unet(10), 2);
    write_tiny_weights(path("null.safetensors"), slow_unet(10, true), 2);
    write_tiny_checkpoint(path("run"), 100, 0, {0.9999});
    std::filesystem::create_directories(path("data"));
    tests::write_shard(path("data/images.h5"), kShape, 40);
  }
  static void TearDownTestSuite() { scratch_.reset(); }
  static std::string path(const std::string& name) { return (scratch_->path() / name).string(); }

  static std::vector<std::string> command(const std::string& weights, const std::string& results,
                                          const std::vector<std::string>& flags, int ranks) {
    return with_flags(
        mpirun(ranks) + std::vector<std::string>{program("cfm_eval_nll"), "--weights_file=" + path(weights),
                                                 "--results_dir=" + path(results), "--data=" + path("data"),
                                                 "--net_batch=7", "--count=23"},
        flags_with_tolerance(flags));
  }
  // A looser tolerance than the default's, unless a grid or another one is asked for.
  static std::vector<std::string> flags_with_tolerance(std::vector<std::string> flags) {
    const auto has_flag = [&](const char* name) {
      return std::ranges::any_of(flags, [&](const std::string& flag) { return flag.starts_with(name); });
    };
    if (has_flag("--solver=")) return flags;
    for (const std::string name : {"--atol=", "--rtol="})
      if (!has_flag(name.c_str())) flags.push_back(name + "1e-3");
    return flags;
  }
  static Finished run(const std::string& weights, const std::string& results,
                      const std::vector<std::string>& flags = {}, int ranks = 1) {
    return test::run(command(weights, results, flags, ranks), path("log"));
  }
  // The only file of a folder whose name ends so.
  static std::filesystem::path only(const std::string& folder, const std::string& ending) {
    std::filesystem::path found;
    for (const auto& entry : std::filesystem::directory_iterator(path(folder))) {
      if (!entry.path().string().ends_with(ending)) continue;
      EXPECT_TRUE(found.empty()) << "two in " << folder;
      found = entry.path();
    }
    EXPECT_FALSE(found.empty()) << "no " << ending << " in " << folder;
    return found;
  }
  static std::string table(const std::string& folder) { return bytes_of(only(folder, ".csv")); }
  static nlohmann::json result(const std::string& folder) {
    return nlohmann::json::parse(bytes_of(only(folder, ".json")));
  }
  // The table after a run that must succeed.
  static std::string evaluated(const std::string& weights, const std::string& results,
                               const std::vector<std::string>& flags = {}, int ranks = 1) {
    const Finished finished = run(weights, results, flags, ranks);
    EXPECT_EQ(finished.exit_code, 0) << finished.output;
    return finished.exit_code == 0 ? table(results) : "";
  }
  // Lines that are kept in a result that is being made.
  static int64_t kept_lines(const std::string& results) {
    int64_t lines = 0;
    std::error_code error;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(path(results), error)) {
      if (entry.path().extension() != ".records") continue;
      const std::string bytes = bytes_of(entry.path());
      lines += std::count(bytes.begin(), bytes.end(), '\n');
    }
    return lines;
  }
  // The bits/dim in the column of a table that is so far from the end.
  static std::vector<double> bits_of(const std::string& csv, int from_the_end = 0) {
    std::istringstream lines(csv);
    std::vector<double> bits;
    std::string line;
    std::getline(lines, line);
    while (std::getline(lines, line)) {
      for (int i = 0; i < from_the_end; ++i) line.resize(line.rfind(','));
      bits.push_back(std::stod(line.substr(line.rfind(',') + 1)));
    }
    return bits;
  }
  static void wait_for_lines(Running& job, const std::string& results, int64_t count) {
    while (!job.ended() && kept_lines(results) < count) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }

  inline static std::unique_ptr<tests::ScratchDirectory> scratch_;
};

}  // namespace cfm::test
