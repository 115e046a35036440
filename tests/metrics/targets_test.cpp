#include "metrics/targets.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/stop_signal.h"
#include "support/file_bytes.h"
#include "support/scratch_directory.h"

namespace cfm::metrics {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

class Targets : public testing::Test {
 protected:
  TargetConfig config(const std::string& run_dir = "/runs/digits", const std::string& address = "n1:9464") const {
    return {.folder = folder_ / "targets",
            .run = "digits",
            .node = "n1",
            .run_dir = run_dir,
            .address = address,
            .job = "42"};
  }
  TargetConfig beating() const {
    TargetConfig quick = config();
    quick.beat = 20ms;
    return quick;
  }
  // A file as a job leaves it, of another run.
  fs::path left(const std::string& name, const std::string& run = "killed") const {
    return folder_.write("targets/" + name, R"([{"targets": ["n2:9464"], "labels": {"node": "n2", "__cfm_target": ")" +
                                                run + R"(", "__cfm_run_dir": "/scratch/)" + run + R"("}}])");
  }
  static void age(const fs::path& file) { fs::last_write_time(file, fs::file_time_type::clock::now() - 2h); }
  // Whether it came true within half a minute.
  static bool comes_true(const std::function<bool()>& what) {
    for (int i = 0; i < 3000; ++i) {
      if (what()) return true;
      std::this_thread::sleep_for(10ms);
    }
    return false;
  }
  tests::ScratchDirectory folder_;
};

TEST_F(Targets, AreThereWhileTheJobIs) {
  fs::path file;
  {
    const Target target(config());
    file = target.file();
    EXPECT_EQ(file.parent_path(), folder_ / "targets");
    EXPECT_TRUE(file.filename().string().starts_with("digits@n1-")) << file;
    EXPECT_EQ(nlohmann::json::parse(test::bytes_of(file)),
              nlohmann::json::parse(R"([{"targets": ["n1:9464"], "labels": {"node": "n1", "__cfm_target": "digits",
                                         "__cfm_run_dir": "/runs/digits", "slurm_job": "42"}}])"));
  }
  EXPECT_FALSE(fs::exists(file));
}

TEST_F(Targets, OfALaterStartAreLeftToIt) {
  TargetConfig earlier = config("/runs/digits", "n1:9464");
  earlier.beat = 500ms;
  auto first = std::make_unique<Target>(earlier);
  const Target second(config("/runs/digits", "n1:9465"));
  EXPECT_EQ(first->file(), second.file());
  std::this_thread::sleep_for(1200ms);  // beats of the first, which find another's file
  first.reset();
  EXPECT_NE(test::bytes_of(second.file()).find("n1:9465"), std::string::npos);
}

TEST_F(Targets, OfKilledJobsGoWithTheNextStartAndFilesOfOthersStay) {
  const fs::path old = left("killed.json"), fresh = left("working.json");
  const std::string of_others[] = {"[]", "torn", R"([{"targets": ["n1:9100"], "labels": {"node": "n1"}}])",
                                   R"([{"targets": ["gateway:9091"]}])", R"({"__cfm_run_dir": "/a"})"};
  std::vector<fs::path> foreign{folder_.write("targets/notes.txt", "")};
  for (const std::string& text : of_others)
    foreign.push_back(folder_.write("targets/foreign" + std::to_string(foreign.size()) + ".json", text));
  age(old);
  for (const fs::path& file : foreign) age(file);
  const Target target(config());
  EXPECT_FALSE(fs::exists(old));
  EXPECT_TRUE(fs::exists(fresh));
  for (const fs::path& file : foreign) EXPECT_TRUE(fs::exists(file)) << test::bytes_of(file);
}

TEST_F(Targets, OfKilledJobsGoWhileAnotherIsAtWorkToo) {
  const Target target(beating());
  const fs::path old = left("killed.json");
  age(old);
  EXPECT_TRUE(comes_true([&] { return !fs::exists(old); }));
}

// As after a suspension for hours, in which others took it for a killed job's.
TEST_F(Targets, ComeBackIfSomebodyRemovesThem) {
  const Target target(beating());
  const std::string text = test::bytes_of(target.file());
  fs::remove(target.file());
  EXPECT_TRUE(comes_true([&] { return fs::exists(target.file()); }));
  EXPECT_EQ(test::bytes_of(target.file()), text);
}

TEST_F(Targets, AreKeptFresh) {
  const Target target(beating());
  const auto aged = fs::file_time_type::clock::now() - 2h;
  fs::last_write_time(target.file(), aged);
  EXPECT_TRUE(comes_true([&] { return fs::last_write_time(target.file()) > aged + 1h; }));
}

// What the batch script has removed stays away, also if the ranks hang. In a process of its own: the signal stays.
TEST_F(Targets, OfAJobThatWasToldToEndDoNotComeBack) {
  EXPECT_EXIT(
      {
        const StopSignal stop;
        TargetConfig slower = beating();
        slower.beat = 200ms;  // not between a look at the file and its writing
        const Target target(slower);
        ::raise(SIGTERM);
        fs::remove(target.file());
        std::this_thread::sleep_for(1s);
        std::_Exit(fs::exists(target.file()) ? 1 : 0);
      },
      testing::ExitedWithCode(0), "");
}

TEST_F(Targets, OfOneNameInTwoFoldersAreTwoAndTheSecondKnows) {
  const Target first(config("/a/digits")), second(config("/b/digits"));
  EXPECT_NE(first.file(), second.file());
  EXPECT_TRUE(fs::exists(first.file()) && fs::exists(second.file()));
  EXPECT_EQ(first.namesake(), "");
  EXPECT_EQ(second.namesake(), "/a/digits");
}

TEST_F(Targets, OfEarlierStartsOtherRunsAndKilledJobsAreNoNamesakes) {
  const Target earlier(config());
  left("other.json", "other");
  age(left("killed.json", "digits"));
  EXPECT_EQ(Target(config("/runs/../runs/digits", "n1:9465")).namesake(), "");
}

TEST_F(Targets, HaveNamesThatNoOtherRunOrNodeHas) {
  const std::string name = target_name("a/b c\n", "n1", "/r");
  EXPECT_TRUE(name.starts_with("a_b_c_@n1-")) << name;
  EXPECT_NE(name, target_name("a_b_c_", "n1", "/r"));
  EXPECT_NE(target_name("a-b", "c", "/r"), target_name("a", "b-c", "/r"));
  EXPECT_LT(target_name(std::string(300, 'x'), std::string(300, 'y'), "/r").size(), 200U);
  EXPECT_EQ(name, target_name("a/b c\n", "n1", "/r"));
}

TEST_F(Targets, ThatCannotBeWrittenEndNothing) {
  folder_.write("targets", "a file");
  EXPECT_NO_THROW(Target{config()});
}

}  // namespace
}  // namespace cfm::metrics
