// What a job tells from its first moment on: while it starts, when it goes on after another, and of what holds it up.

#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <functional>
#include <map>
#include <thread>

#include "support/file_bytes.h"
#include "support/http.h"
#include "support/processes.h"
#include "support/training_run.h"

namespace cfm::test {
namespace {

using std::chrono::milliseconds;

// A process that is stopped four fifths of the time, as long as this lives.
class Slowed {
 public:
  explicit Slowed(int process) : process_(process), thread_([this] { slow(); }) {}
  ~Slowed() {
    ended_ = true;
    thread_.join();
  }
  Slowed(const Slowed&) = delete;
  Slowed& operator=(const Slowed&) = delete;

 private:
  void slow() const {
    while (!ended_) {
      kill(process_, SIGSTOP);
      std::this_thread::sleep_for(milliseconds(40));
      kill(process_, SIGCONT);
      std::this_thread::sleep_for(milliseconds(10));
    }
  }
  const int process_;
  std::atomic<bool> ended_ = false;
  std::thread thread_;  // last: it uses the others
};

class WatchedStart : public testing::Test {
 protected:
  std::vector<std::string> training(const std::vector<std::string>& more) const {
    return with_flags(small_run(data_, run_),
                      std::vector<std::string>{"--metrics_targets=" + targets_.string()} + more);
  }
  // `program` with the failpoint's N-th operation held until let_go().
  std::vector<std::string> held(const std::string& fail_at, const std::vector<std::string>& program) const {
    return std::vector<std::string>{"env", "CFM_FAIL_AT=" + fail_at + ":" + go_.string()} + program;
  }
  void let_go() const { put_bytes(go_, "go"); }
  // Whether it came true within two minutes, while the job ran.
  static bool wait_for(Running& job, const std::function<bool()>& what) {
    for (int i = 0; i < 12'000 && !job.ended(); ++i) {
      if (what()) return true;
      std::this_thread::sleep_for(milliseconds(10));
    }
    return false;
  }
  // What the job's endpoint says at `path`; empty while there is none.
  std::string page(const std::string& path) const {
    if (!std::filesystem::exists(run_)) return "";
    for (const auto& entry : std::filesystem::directory_iterator(run_)) {
      if (entry.path().extension() != ".address") continue;
      const std::string address = bytes_of(entry.path());
      const size_t colon = address.rfind(':');
      if (colon != std::string::npos) return body_of(http_get(std::stoi(address.substr(colon + 1)), path));
    }
    return "";
  }
  // The value of a series in such a text, "cfm_step" or "cfm_stage{stage=\"data\"}"; NaN if it is not there.
  static double value(const std::string& text, const std::string& series) {
    const size_t brace = series.find('{');
    const std::string labels = brace == std::string::npos ? "}" : "," + series.substr(brace + 1);
    const std::string line = "\n" + series.substr(0, brace) + "{run=\"run\"" + labels + " ";
    const size_t found = ("\n" + text).find(line);
    return found == std::string::npos ? std::nan("") : std::stod(text.substr(found + line.size() - 1));
  }
  double value(const std::string& series) const { return value(page("/metrics"), series); }
  static double sum_of_steps(const std::filesystem::path& run, double last) {
    double seconds = 0;
    for (const nlohmann::json& step : events(run, "step"))
      if (step.at("step") <= last) seconds += step.at("step_seconds").get<double>();
    return seconds;
  }
  static void stop(Running& job) {
    kill(job.pid(), SIGUSR1);
    const Finished finished = job.wait();
    EXPECT_EQ(finished.exit_code, 75) << finished.output;
  }
  // The series of step 5 or so, of a job that is let go after as long.
  std::string held_for_3_seconds(Running& job) const {
    std::this_thread::sleep_for(std::chrono::seconds(3));
    let_go();
    std::string text;
    EXPECT_TRUE(wait_for(job, [&] {
      text = page("/metrics");
      return value(text, "cfm_step") >= 5;
    }));
    return text;
  }

  TemporaryFolder folder_;
  std::string data_ = digit_shards(folder_.path(), "train", 0, 64);
  std::filesystem::path run_ = folder_.path() / "run", targets_ = folder_.path() / "targets",
                        go_ = folder_.path() / "go";
};

TEST_F(WatchedStart, IsFoundWhileItCopiesItsDataAndPaysForThat) {
  const double before = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  Running job(mpirun(2) + held("create:.h5.tmp:1",
                               training({"--steps=1000000", "--stage_dir=" + (folder_.path() / "stage").string()})),
              folder_.path() / "log");
  ASSERT_TRUE(wait_for(job, [&] { return value("cfm_stage{stage=\"data\"}") == 1; }));
  ASSERT_TRUE(wait_for(job, [&] {
    std::error_code none;
    return !std::filesystem::is_empty(targets_, none) && !none;
  }));
  EXPECT_EQ(value("cfm_stage{stage=\"training\"}"), 0);
  const double started = value("cfm_start_time_seconds");
  EXPECT_GT(started, before - 0.1);
  const nlohmann::json status = nlohmann::json::parse(page("/status.json"));
  EXPECT_EQ(status.at("stage"), "data");
  EXPECT_EQ(status.at("last_step"), 1'000'000);
  const std::string text = held_for_3_seconds(job);
  EXPECT_EQ(value(text, "cfm_stage{stage=\"data\"}"), 0);
  EXPECT_EQ(value(text, "cfm_stage{stage=\"training\"}"), 1);
  EXPECT_EQ(value(text, "cfm_start_time_seconds"), started);
  // The process is older than the three seconds that it was held.
  EXPECT_GT(value(text, "cfm_goodput_ratio"), 0);
  EXPECT_LT(value(text, "cfm_goodput_ratio"), sum_of_steps(run_, value(text, "cfm_step")) / 3);
  stop(job);
}

TEST_F(WatchedStart, GoesOnWithThePageOfTheOneBefore) {
  const Finished first = run(training({"--steps=21", "--log_every=5", "--sample_every=20"}), folder_.path() / "log");
  ASSERT_EQ(first.exit_code, 0) << first.output;
  Running job(training({"--steps=1000000", "--log_every=5"}), folder_.path() / "log");
  nlohmann::json status;
  ASSERT_TRUE(wait_for(job, [&] {
    status = nlohmann::json::parse(page("/status.json"), nullptr, false);
    return status.is_object() && status.at("stage") == "training";
  }));
  EXPECT_GE(status.at("step"), 21);
  EXPECT_EQ(status.at("checkpoint"), 21);
  EXPECT_EQ(status.at("samples"), "step_000000020.png");
  EXPECT_TRUE(page("/samples.png").starts_with("\x89PNG"));
  const auto before = losses(run_);
  ASSERT_GE(status.at("losses").size(), 4U);
  for (size_t i = 0; i < 4; ++i) {
    const long step = 5 * static_cast<long>(i + 1);
    EXPECT_EQ(status.at("losses")[i][0], step);
    EXPECT_EQ(status.at("losses")[i][1].get<double>(), before.at(step));
  }
  EXPECT_GT(value("cfm_checkpoint_bytes"), 0) << "of the checkpoint that it began from";
  EXPECT_EQ(value("cfm_lost_steps"), 0);
  stop(job);
}

// What events.jsonl, a line every five steps, can know of it.
TEST_F(WatchedStart, SaysWhatAKilledOneHadMadeForNothing) {
  double seen = 0;
  {
    Running job(training({"--steps=1000000", "--log_every=5", "--checkpoint_every=10"}), folder_.path() / "log");
    ASSERT_TRUE(wait_for(job, [&] { return value("cfm_checkpoints_total") >= 1; }));
    ASSERT_TRUE(wait_for(job, [&] {
      seen = value("cfm_step");
      return std::fmod(seen, 10) >= 8;
    }));
    kill(job.pid(), SIGKILL);
    job.wait();
  }
  Running job(training({"--steps=1000000", "--log_every=5"}), folder_.path() / "log");
  std::string text;
  ASSERT_TRUE(wait_for(job, [&] {
    text = page("/metrics");
    return value(text, "cfm_attempt") == 2;
  }));
  const std::vector<nlohmann::json> rewinds = events(run_, "rewind_to");
  ASSERT_EQ(rewinds.size(), 1U);
  const double from = rewinds[0].at("step"), lost = value(text, "cfm_lost_steps");
  EXPECT_GE(lost, 0);
  EXPECT_GE(from + lost, seen - 4) << "its last four steps may have gone without a line";
  EXPECT_EQ(value(text, "cfm_lost_seconds") > 0, lost > 0);
  stop(job);
}

TEST_F(WatchedStart, CountsTheTimeOfASaveAsThatAndNotAsTheOptimizers) {
  Running job(mpirun(2) + held("rename:step_:1",
                               training({"--steps=1000000", "--checkpoint_every=3", "--async_checkpoints=false"})),
              folder_.path() / "log");
  const auto is_written = [&] {
    std::error_code error;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(run_ / "checkpoints", error))
      if (entry.path().filename() == "manifest.json") return true;
    return false;
  };
  ASSERT_TRUE(wait_for(job, is_written));
  const std::string text = held_for_3_seconds(job);
  const auto seconds = [&](const std::string& phase) {
    return value(text, "cfm_phase_seconds_total{phase=\"" + phase + "\"}");
  };
  EXPECT_GE(seconds("checkpoint"), 3) << "of both ranks: this is their mean";
  EXPECT_LT(seconds("optimizer") + seconds("ema"), seconds("checkpoint"));
  EXPECT_GE(events(run_, "checkpoint").at(0).at("stall_seconds"), 3);
  stop(job);
}

TEST_F(WatchedStart, NamesTheSlowRankWhicheverItIs) {
  Running job(mpirun(2) + training({"--steps=1000000"}), folder_.path() / "log");
  ASSERT_TRUE(wait_for(job, [&] { return value("cfm_step") >= 3; }));
  std::map<int, int> process_of;  // by rank
  for (const int process : ranks_below(job.pid(), "cfm_train")) {
    const std::string environment = bytes_of("/proc/" + std::to_string(process) + "/environ");
    const std::string name("\0OMPI_COMM_WORLD_RANK=", 22);
    const size_t found = environment.find(name);
    ASSERT_NE(found, std::string::npos);
    process_of[std::stoi(environment.substr(found + name.size()))] = process;
  }
  ASSERT_EQ(process_of.size(), 2U);
  for (const int slow : {1, 0}) {
    const Slowed slowed(process_of.at(slow));
    const double first = value("cfm_step") + 3;         // steps that were under way are not asked
    std::map<double, std::pair<double, double>> named;  // by step: the rank, and its lag
    ASSERT_TRUE(wait_for(job, [&] {
      const std::string text = page("/metrics");
      if (value(text, "cfm_step") >= first)
        named[value(text, "cfm_step")] = {value(text, "cfm_slowest_rank"), value(text, "cfm_slowest_rank_lag_ratio")};
      return named.size() >= 21;
    }));
    int right = 0;
    double lag = 0;
    for (const auto& [step, one] : named) {
      right += one.first == slow ? 1 : 0;
      lag += one.second / static_cast<double>(named.size());
    }
    EXPECT_GE(right, 15) << "of 21 steps, with rank " << slow << " stopped most of the time";
    EXPECT_GT(lag, 0.2);
  }
  stop(job);
}

}  // namespace
}  // namespace cfm::test
