#include "evaluator/watch.h"

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/hash.h"
#include "base/log.h"
#include "base/number_text.h"
#include "checkpoint/store.h"

namespace cfm::evaluator {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kLook(1'000);  // between looks at the run's folder

// What the ranks do next, as rank 0 says it.
struct Next {
  enum class Kind { kEvaluate, kWait, kEnd } kind = Kind::kWait;
  int64_t step = 0;
  std::string text() const { return std::to_string(static_cast<int>(kind)) + " " + std::to_string(step); }
};

Next next_from(const std::string& text) {
  const size_t space = text.find(' ');
  return {static_cast<Next::Kind>(std::stoi(text.substr(0, space))), std::stoll(text.substr(space))};
}

// A result that another job is making.
struct Elsewhere {
  ResultFile file;
  Json settings;
  std::unique_ptr<LeaseSeeker> seeker;
};

// What rank 0 knows of the run.
class Watcher {
 public:
  explicit Watcher(const WatchConfig& config) : config_(config) {}

  Next next() {
    hold_.reset();
    follow();
    std::optional<int64_t> newest;
    for (const int64_t step : checkpoint::committed_steps(config_.run_dir)) {
      newest = step;
      if (seen_.insert(step).second) busy();
      if (settled_.contains(step) || !is_free(step)) continue;
      return hold(step) ? Next{Next::Kind::kEvaluate, step} : Next{Next::Kind::kWait};
    }
    look_at_what_is_gone();
    if (!elsewhere_.empty()) {
      busy();
      return waits("for other jobs, which evaluate " + std::to_string(elsewhere_.size()) + " of its checkpoints");
    }
    if (newest && is_complete(*newest)) {
      say("complete     every checkpoint of " + config_.run_dir.string() + " up to " + checkpoint::step_name(*newest) +
          ", its last, has had its turn");
      return {Next::Kind::kEnd};
    }
    if (std::chrono::duration<double>(Clock::now() - busy_since_).count() > config_.idle_seconds) {
      check(fs::exists(config_.run_dir), "--watch=" + config_.run_dir.string() + ": no such folder has appeared for " +
                                             number_text(config_.idle_seconds) + " s (--watch_idle)");
      say("idle         for " + number_text(config_.idle_seconds) + " s: no new checkpoint in " +
          config_.run_dir.string() + ", which is not complete; the same command goes on from here");
      return {Next::Kind::kEnd};
    }
    return waits(newest       ? "for a checkpoint after " + checkpoint::step_name(*newest)
                 : is_there() ? "for its first checkpoint"
                              : "for " + config_.run_dir.string() + " to appear");
  }

  // Never waits: another job's claim is looked at again and again, and taken when it has ended or shows no life.
  ClaimedResult claim(int64_t step, const ResultFile& file, const Json& settings) {
    Elsewhere& other = elsewhere_[step];
    if (!other.seeker) other = {file, settings, std::make_unique<LeaseSeeker>(file.claim(), times_)};
    ClaimedResult result = try_to_claim(file, settings, *other.seeker);
    if (result.state == ResultState::kElsewhere) {
      say("elsewhere    " + checkpoint::step_name(step) + " is being evaluated by " + other.seeker->holder().text());
    } else {
      elsewhere_.erase(step);
    }
    return result;
  }

  void settle(int64_t step) {
    settled_.insert(step);
    elsewhere_.erase(step);
    busy();
    tell_trainer(step);
  }
  bool is_committed(int64_t step) const { return checkpoint::is_committed(config_.run_dir, step); }

 private:
  // The run's trainer keeps checkpoints for jobs that follow it.
  void follow() {
    if (!is_there() || (follower_ && follower_->counts())) return;
    try {
      follower_ = std::make_unique<checkpoint::Follower>(config_.run_dir, config_.task, times_);
      for (const int64_t step : settled_) follower_->settle(step);
    } catch (const Error& e) {
      if (said_alone_) return;
      said_alone_ = true;
      warn(std::string("the trainer keeps no checkpoints for this job: ") + e.what());
    }
  }
  void tell_trainer(int64_t step) {
    try {
      if (follower_) follower_->settle(step);
    } catch (const Error&) {  // it was taken for dead: follow() comes back
    }
  }
  // Whether it is there to stay for as long as this job is at it. Deletions that are under way end soon.
  bool hold(int64_t step) {
    hold_ = checkpoint::hold_or_warn(config_.run_dir, step, times_);
    return !hold_ || hold_->keeps().value_or(false);
  }
  // Whether this job may try it: nobody is known to be at it, or whoever was has ended.
  bool is_free(int64_t step) {
    const auto other = elsewhere_.find(step);
    if (other == elsewhere_.end()) return true;
    if (is_done(other->second.file, other->second.settings)) {
      settle(step);
      return false;
    }
    return other->second.seeker->try_take() != nullptr;  // given back at once: `claim` takes it for good
  }
  // Deleted, or set aside by the trainer because it was damaged. Another job may have it in memory still.
  void look_at_what_is_gone() {
    const std::vector<int64_t> steps = checkpoint::committed_steps(config_.run_dir);
    const std::set<int64_t> there(steps.begin(), steps.end());
    for (const int64_t step : seen_) {
      if (there.contains(step) || settled_.contains(step)) continue;
      if (const auto other = elsewhere_.find(step); other != elsewhere_.end()) {
        if (!is_free(step) || settled_.contains(step)) continue;
      }
      if (!follower_ || !follower_->is_settled(step))
        warn(checkpoint::step_name(step) + " of " + config_.run_dir.string() +
             " went before it was evaluated: deleted (--keep_unevaluated of cfm_train keeps more), or set aside as "
             "damaged");
      settle(step);
    }
  }
  // As the newest manifest says. A trainer that is still there may go on further.
  bool is_complete(int64_t newest) {
    if (trainer_.is_held()) return false;
    if (last_step_.first != newest) {
      try {
        const checkpoint::Manifest manifest =
            checkpoint::read_manifest(checkpoint::checkpoints_folder(config_.run_dir) / checkpoint::step_name(newest));
        const auto steps = manifest.flags.find("steps");
        last_step_ = {newest, steps == manifest.flags.end() ? -1 : std::stoll(steps->second)};
      } catch (const std::exception&) {  // deleted meanwhile, or damaged: not complete as far as is known
        return false;
      }
    }
    return last_step_.second >= 0 && newest >= last_step_.second;
  }
  bool is_there() const { return fs::is_directory(config_.run_dir); }
  void busy() { busy_since_ = Clock::now(); }
  Next waits(const std::string& for_what) {
    if (for_what != said_) say("waiting      " + for_what);
    said_ = for_what;
    return {Next::Kind::kWait};
  }

  const WatchConfig& config_;
  const LeaseTimes times_ = lease_times(config_.lease_seconds);
  LeaseSeeker trainer_{config_.run_dir / "trainer.lease", times_};
  std::unique_ptr<checkpoint::Follower> follower_;
  std::unique_ptr<checkpoint::Hold> hold_;  // of the checkpoint that the job is at
  bool said_alone_ = false;
  std::set<int64_t> seen_, settled_;
  std::map<int64_t, Elsewhere> elsewhere_;
  std::pair<int64_t, int64_t> last_step_{-1, -1};  // of the run, as the manifest of a step says
  Clock::time_point busy_since_ = Clock::now();
  std::string said_;
};

}  // namespace

Problems WatchConfig::validate() const {
  if (!on()) return lease_problems(lease_seconds);
  Problems problems = lease_problems(lease_seconds);
  if (!(idle_seconds >= 0))
    problems.push_back("--watch_idle=" + number_text(idle_seconds) + ": expected 0 or more seconds");
  if (fs::exists(run_dir) && !fs::is_directory(run_dir))
    problems.push_back("--watch=" + run_dir.string() + " is a file; expected the folder of a run");
  return problems;
}

Problems weights_problems(const WeightsChoice& weights, const WatchConfig& watch) {
  Problems problems = watch.validate();
  if (!watch.on()) {
    for (const std::string& problem : weights.validate()) problems.push_back(problem);
  } else if (!weights.run_dir.empty() || !weights.weights_file.empty()) {
    problems.emplace_back("--watch in place of --run_dir and --weights_file: give one of the three");
  } else if (weights.step != checkpoint::kNewestStep) {
    problems.emplace_back("--step names one checkpoint, --watch takes all: leave one of them out");
  }
  return problems;
}

std::string task_of(const ProgramHelp& program) {
  std::string text;
  for (const FlagSetting& flag : flag_settings(program))
    if (flag.group != "watching" && flag.group != "metrics") text += flag.name + "=" + flag.value + "\n";
  return program.name + "-" + xxh3_128_hex(text.data(), text.size()).substr(0, 10);
}

void agree_on_job(const parallel::MpiSession& session, const std::function<void()>& work) {
  try {
    parallel::agree_on(session, work);
  } catch (const SharedError& e) {
    throw WrongJob(e.what(), e.exit_code());
  }
}

ExitCode watch_run(const WatchConfig& config, const EvaluateStep& evaluate, const parallel::MpiSession& session,
                   const StopSignal& stop) {
  const bool leads = session.rank() == 0;
  Watcher watcher(config);
  if (leads)
    say("watching     " + config.run_dir.string() + ": every checkpoint, until the run is complete, or for " +
        number_text(config.idle_seconds) + " s without a new one");
  Problems failed;
  for (;;) {
    std::string decision;
    parallel::agree_on(session, [&] {
      if (leads) decision = watcher.next().text();
    });
    const Next next = next_from(session.control().broadcast(decision));
    if (session.control().any(stop.raised() != 0)) {
      if (leads) say("stopped      the same command goes on from here");
      return ExitCode::kRequeue;
    }
    if (next.kind == Next::Kind::kEnd) break;
    if (next.kind == Next::Kind::kWait) {
      std::this_thread::sleep_for(kLook);
      continue;
    }
    try {
      const Outcome outcome = evaluate(next.step, [&](const ResultFile& file, const Json& settings) {
        return claimed_on_rank_0(session, [&] { return watcher.claim(next.step, file, settings); });
      });
      if (outcome == Outcome::kStopped) return ExitCode::kRequeue;
      if (outcome == Outcome::kElsewhere) continue;
    } catch (const WrongJob&) {
      throw;
    } catch (const SharedError& e) {
      const bool is_gone = session.control().any(leads && !watcher.is_committed(next.step));
      if (is_gone) continue;  // it could not be held, or was set aside: next() says so
      if (e.exit_code() != ExitCode::kWontWork) throw;
      failed.push_back(checkpoint::step_name(next.step) + ": " + e.what());
      if (leads) warn(failed.back());
    }
    watcher.settle(next.step);
  }
  check_no_problems(failed);
  return ExitCode::kDone;
}

}  // namespace cfm::evaluator
