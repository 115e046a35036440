// cfm_eval_fid beside another job, and when it is stopped or killed on its way.
#include <signal.h>

#include <thread>

#include "base/lease.h"
#include "evaluator/fid.h"
#include "support/error_text.h"
#include "support/fid_program.h"
#include "support/file_bytes.h"
#include "support/training_run.h"

namespace cfm::evaluator {
namespace {

using nlohmann::json;
using test::has;

// Jobs that want the statistics of the same images at the same time.
class WaitingFid : public test::FidProgram {
 protected:
  static void SetUpTestSuite() {
    FidProgram::SetUpTestSuite();
    result_of(flags(), "first", 1, "shared");
  }
  static std::string flags() { return digits() + " " + reference() + samples_flag(path("others.npz")); }
  static std::vector<std::string> command(const std::string& tag) {
    std::vector<std::string> words = test::mpirun(2);
    std::istringstream all("-x XDG_CACHE_HOME=" + path("shared") + " " CFM_BIN_DIR "/cfm_eval_fid " + flags() + " " +
                           results() + " --tag=" + tag);
    for (std::string word; all >> word;) words.push_back(word);
    return words;
  }
  static std::filesystem::path cached() {
    for (const auto& entry : std::filesystem::directory_iterator(path("shared/cfm/fid")))
      if (entry.path().extension() == ".safetensors") return entry.path();
    return {};
  }
  static bool says(test::Running& job, const std::string& word) {
    for (int i = 0; i < 3000 && !job.ended(); ++i) {
      if (test::bytes_of(path("log")).find(word) != std::string::npos) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }
  static std::string origin(const std::string& tag) {
    return json::parse(std::ifstream(result_file(tag)), nullptr, /*allow_exceptions=*/false)["reference"]["statistics"];
  }
};

TEST_F(WaitingFid, WaitsForTheOneThatComputesAndTakesItsStatistics) {
  const std::filesystem::path file = cached();
  std::filesystem::rename(file, path("aside"));  // as before the other job has finished
  std::unique_ptr<Lease> lease = LeaseSeeker(file.string() + ".lease").try_take();
  ASSERT_NE(lease, nullptr);
  test::Running job(command("waits"), path("log"));
  EXPECT_TRUE(says(job, "waiting ")) << job.wait().output;
  std::filesystem::rename(path("aside"), file);
  lease.reset();
  const test::Finished done = job.wait();
  EXPECT_EQ(done.exit_code, 0) << done.output;
  EXPECT_TRUE(origin("waits").starts_with("cache ")) << origin("waits");
}

TEST_F(WaitingFid, StopsOnASignalWhileItWaits) {
  const std::filesystem::path file = cached();
  std::filesystem::rename(file, path("aside"));
  {
    const std::unique_ptr<Lease> lease = LeaseSeeker(file.string() + ".lease").try_take();
    test::Running job(command("tired"), path("log"));
    EXPECT_TRUE(says(job, "waiting ")) << job.wait().output;
    kill(job.pid(), SIGUSR1);
    const test::Finished stopped = job.wait();
    EXPECT_EQ(stopped.exit_code, 75) << stopped.output;
  }
  std::filesystem::rename(path("aside"), file);
}

TEST_F(WaitingFid, TakesOverFromOneThatHasDied) {
  const std::filesystem::path file = cached();
  std::string text;
  {
    const std::unique_ptr<Lease> lease = LeaseSeeker(file.string() + ".lease").try_take();
    text = test::bytes_of(lease->file());
  }
  const size_t process = text.find("process=") + 8;
  text.replace(process, text.find('\n', process) - process, "4194304-1");  // a number that Linux does not give
  test::put_bytes(file.string() + ".lease", text);
  std::filesystem::remove(file);
  const test::Finished done = test::run(command("heir"), path("log"));
  EXPECT_EQ(done.exit_code, 0) << done.output;
  EXPECT_EQ(origin("heir"), "computed from the images");
  EXPECT_TRUE(std::filesystem::exists(file));
  EXPECT_FALSE(std::filesystem::exists(file.string() + ".lease"));
}

class StoppedFid : public test::FidProgram {
 protected:
  static std::vector<std::string> command(
      const std::string& tag, int ranks,
      const std::string& work = "--count=1600 --repeats=2 --solver=midpoint --steps=3 --seed=3") {
    std::vector<std::string> words = test::mpirun(ranks);
    std::istringstream flags("--weights_file=" + path("classes.safetensors") + " " + digits() + " " + reference() +
                             " " + work + " " + results() + " --tag=" + tag);
    words.push_back(CFM_BIN_DIR "/cfm_eval_fid");
    for (std::string flag; flags >> flag;) words.push_back(flag);
    return words;
  }
  static std::string parts(const std::string& tag) { return path("results/fid-step_000000000-" + tag + ".parts"); }
  static std::vector<std::filesystem::path> blocks(const std::string& tag) {
    std::vector<std::filesystem::path> found;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(parts(tag), error))
      if (entry.path().extension() == ".safetensors") found.push_back(entry.path());
    return found;
  }
  static void wait_for_blocks(test::Running& job, const std::string& tag, size_t count) {
    for (int i = 0; i < 6000 && !job.ended() && blocks(tag).size() < count; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    ASSERT_FALSE(job.ended()) << job.wait().output;
  }
  static json finished(const std::string& tag, int ranks) {
    const test::Finished done = test::run(command(tag, ranks), path("log"));
    EXPECT_EQ(done.exit_code, 0) << done.output;
    EXPECT_FALSE(std::filesystem::exists(parts(tag)));
    return json::parse(std::ifstream(result_file(tag)), nullptr, /*allow_exceptions=*/false);
  }
};

TEST_F(StoppedFid, ContinuesAfterAKillOnAnyNumberOfRanksBitForBit) {
  const json whole = finished("whole", 2);
  {
    test::Running job(command("killed", 2), path("log"));
    wait_for_blocks(job, "killed", 1);
    kill(-job.pid(), SIGKILL);
    EXPECT_EQ(job.wait().exit_code, 128 + SIGKILL);
  }
  std::this_thread::sleep_for(std::chrono::seconds(1));  // mpirun's ranks are not in its process group
  const std::vector<std::filesystem::path> kept = blocks("killed");
  ASSERT_FALSE(kept.empty());
  test::flip_bit(kept[0], std::filesystem::file_size(kept[0]) - 10);
  EXPECT_FALSE(std::filesystem::exists(result_file("killed")));
  const json continued = finished("killed", 3);
  EXPECT_TRUE(has(test::bytes_of(path("log")), {"drawn again"}));
  EXPECT_EQ(numbers_of(continued), numbers_of(whole));
}

TEST_F(StoppedFid, StopsOnASignalAndAsksForRequeueing) {
  test::Running job(command("stopped", 2), path("log"));
  wait_for_blocks(job, "stopped", 1);
  kill(job.pid(), SIGUSR1);
  const test::Finished stopped = job.wait();
  EXPECT_EQ(stopped.exit_code, 75) << stopped.output;
  EXPECT_TRUE(has(stopped.output, {"stopped", "the same command continues"}));
  EXPECT_FALSE(std::filesystem::exists(result_file("stopped")));
  EXPECT_FALSE(blocks("stopped").empty() && !std::filesystem::exists(parts("stopped") + "/repeat-0.json"));
  finished("stopped", 1);
}

// All samples are drawn, and KID is to take days.
TEST_F(StoppedFid, StopsOnASignalAmidTheKernelDistance) {
  test::Running job(
      command("kernel", 2, "--count=600 --repeats=1 --solver=euler --steps=1 --seed=3 --kid_subsets=100000000"),
      path("log"));
  wait_for_blocks(job, "kernel", 2);
  kill(job.pid(), SIGUSR1);
  const test::Finished stopped = job.wait();
  EXPECT_EQ(stopped.exit_code, 75) << stopped.output;
  EXPECT_TRUE(has(stopped.output, {"KID, precision and recall ", "stopped", "the same command continues"}));
  EXPECT_FALSE(std::filesystem::exists(parts("kernel") + "/repeat-0.json"));
}

// A job that follows a run is killed in the midst of a checkpoint's second repeat.
TEST_F(StoppedFid, OfAWatchingJobThatIsKilledIsTakenOverByAnotherAndEndsInTheSameNumbers) {
  const auto watching = [](const std::string& weights, int ranks) {
    std::vector<std::string> words = test::mpirun(ranks);
    std::istringstream all(CFM_BIN_DIR "/cfm_eval_fid " + weights + " " + digits() + " " + reference() +
                           " --count=1600 --repeats=2 --solver=midpoint --steps=3 --seed=3 --tag=watched");
    for (std::string word; all >> word;) words.push_back(word);
    return words;
  };
  const std::string name = "/fid-step_000000100-watched", result = path("run/results") + name;
  const auto second_repeat_is_begun = [&] {
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(result + ".parts", error))
      if (entry.path().filename().string().starts_with("repeat-1-")) return true;
    return false;
  };
  {
    test::Running job(watching("--watch=" + path("run"), 0), path("log"));
    while (!job.ended() && !second_repeat_is_begun()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    ASSERT_FALSE(job.ended()) << job.wait().output;
    kill(job.pid(), SIGKILL);
    job.wait();
  }
  ASSERT_TRUE(std::filesystem::exists(result + ".claim"));
  ASSERT_FALSE(std::filesystem::exists(result + ".json"));
  const test::Finished second = test::run(watching("--watch=" + path("run"), 2), path("log"));
  EXPECT_EQ(second.exit_code, 0) << second.output;
  EXPECT_TRUE(has(second.output, {"repeat-0 is kept", "complete"}));
  EXPECT_FALSE(std::filesystem::exists(result + ".parts"));
  const test::Finished alone =
      test::run(watching("--run_dir=" + path("run") + " --results_dir=" + path("alone"), 3), path("log"));
  ASSERT_EQ(alone.exit_code, 0) << alone.output;
  const auto numbers = [](const std::string& file) {
    return numbers_of(json::parse(std::ifstream(file + ".json"), nullptr, /*allow_exceptions=*/false));
  };
  EXPECT_EQ(numbers(result), numbers(path("alone") + name));
}

class SweptFid : public StoppedFid {
 protected:
  static std::vector<std::string> sweep(const std::string& tag, int ranks) {
    return command(tag, ranks, "--count=8 --net_batch=4 --sweep --sweep_nfe=2 --sweep_tolerances=1e-2 --seed=3");
  }
  static std::string swept_parts(const std::string& tag) {
    return path("results/fid_sweep-step_000000000-" + tag + ".parts");
  }
  static json curve(const std::string& tag, int ranks) {
    const test::Finished done = test::run(sweep(tag, ranks), path("log"));
    EXPECT_EQ(done.exit_code, 0) << done.output;
    EXPECT_TRUE(has(done.output, {"cost ", "errors "}));
    return json::parse(std::ifstream(result_file(tag, "fid_sweep")), nullptr, /*allow_exceptions=*/false)["curve"];
  }
};

TEST_F(SweptFid, IsTheSameFromAnyNumberOfRanksAndAfterASignalAmidTheExactSolution) {
  const json whole = curve("whole", 1);
  ASSERT_EQ(whole.size(), 7U);
  {
    test::Running job(sweep("stopped", 2), path("log"));
    // The first point's distance is there: the exact solution, of two blocks by 4,000 calls, is under way.
    for (int i = 0; i < 6000 && !job.ended() && !std::filesystem::exists(swept_parts("stopped") + "/euler-2.json"); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    const auto told = std::chrono::steady_clock::now();
    kill(job.pid(), SIGUSR1);
    const test::Finished stopped = job.wait();
    EXPECT_EQ(stopped.exit_code, 75) << stopped.output;
    EXPECT_LT(std::chrono::steady_clock::now() - told, std::chrono::seconds(5));
    EXPECT_FALSE(std::filesystem::exists(swept_parts("stopped") + "/error-euler-2.json"));
  }
  EXPECT_EQ(curve("stopped", 3), whole);
}

}  // namespace
}  // namespace cfm::evaluator
