#include "metrics/targets.h"

#include <gtest/gtest.h>

#include <chrono>
#include <nlohmann/json.hpp>

#include "support/file_bytes.h"
#include "support/scratch_directory.h"

namespace cfm::metrics {
namespace {

namespace fs = std::filesystem;

class Targets : public testing::Test {
 protected:
  TargetConfig config(const std::string& run = "digits") const {
    return {.folder = folder_ / "targets", .run = run, .node = "n1", .address = "n1:9464", .job = "42"};
  }
  tests::ScratchDirectory folder_;
};

TEST_F(Targets, AreThereWhileTheJobIs) {
  fs::path file;
  {
    const Target target(config());
    file = target.file();
    EXPECT_EQ(file, folder_ / "targets" / "digits-n1.json");
    const nlohmann::json found = nlohmann::json::parse(test::bytes_of(file));
    EXPECT_EQ(found,
              nlohmann::json::parse(R"([{"targets": ["n1:9464"], "labels": {"node": "n1", "slurm_job": "42"}}])"));
  }
  EXPECT_FALSE(fs::exists(file));
}

TEST_F(Targets, OfALaterStartAreLeftToIt) {
  auto first = std::make_unique<Target>(config());
  TargetConfig later = config();
  later.address = "n1:9465";
  const Target second(later);
  first.reset();
  EXPECT_NE(test::bytes_of(second.file()).find("n1:9465"), std::string::npos);
}

TEST_F(Targets, OfKilledJobsGoWithTheNextStart) {
  const fs::path old = folder_.write("targets/killed-n1.json", "[]"),
                 fresh = folder_.write("targets/other-n2.json", "[]");
  const fs::path unrelated = folder_.write("targets/notes.txt", "");
  const auto hours_ago = fs::file_time_type::clock::now() - std::chrono::hours(2);
  fs::last_write_time(old, hours_ago);
  fs::last_write_time(unrelated, hours_ago);
  const Target target(config());
  EXPECT_FALSE(fs::exists(old));
  EXPECT_TRUE(fs::exists(fresh) && fs::exists(unrelated));
}

TEST_F(Targets, OfARunWithAnyNameAreOneFile) { EXPECT_EQ(target_name("a/b c\n", "n1"), "a_b_c_-n1.json"); }

TEST_F(Targets, ThatCannotBeWrittenEndNothing) {
  folder_.write("targets", "a file");
  EXPECT_NO_THROW(Target{config()});
}

}  // namespace
}  // namespace cfm::metrics
