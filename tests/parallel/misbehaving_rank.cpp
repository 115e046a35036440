// A program for job_end_test: ranks train nothing for a while, and one of them misbehaves as the first argument says.
//   misbehaving_rank HOW [RANK [FILE]]      FILE: where failures are written
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>

#include "base/stop_signal.h"
#include "parallel/failure_log.h"
#include "parallel/gradient_reducer.h"
#include "parallel/mpi_session.h"
#include "parallel/process_group.h"
#include "parallel/step_control.h"
#include "parallel/watchdog.h"

namespace {

using cfm::ExitCode;
using cfm::parallel::MpiSession;

[[noreturn]] void sleep_for_ever() {
  while (true) std::this_thread::sleep_for(std::chrono::seconds(1));
}

const std::map<std::string, std::function<void()>> kMisbehaviour{
    {"error", [] { throw cfm::Error("shard 3 is damaged"); }},
    {"retry_error", [] { throw cfm::Error("disk full", ExitCode::kRetry); }},
    {"exception", [] { throw std::runtime_error("something else"); }},
    {"wrongly_shared", [] { throw cfm::SharedError("only I see this"); }},
    {"killed", [] { ::raise(SIGKILL); }},
    {"exits", [] { ::_exit(7); }},
    {"hangs", [] { sleep_for_ever(); }},
    {"stopped", [] { ::raise(SIGSTOP); }},
    {"nothing", [] {}},
};

// One rank works, or does not, while the others wait for it.
ExitCode let_wait(const MpiSession& session, const std::string& how, int who) {
  cfm::parallel::WatchdogConfig config{.step_timeout = std::chrono::seconds(2),
                                       .heartbeat = std::chrono::milliseconds(500)};
  if (how == "hangs_at_the_start") config.start_timeout = std::chrono::seconds(3);
  cfm::parallel::Watchdog watchdog(session, config);
  if (how == "hangs_at_the_start" && session.rank() == who) sleep_for_ever();
  watchdog.enter("data", 1);
  if (session.rank() != who || how == "all_wait") watchdog.wait("held-out", 1);
  if (session.rank() == who && how == "hangs_alone") watchdog.enter("held-out", 1);
  if (how == "hangs_alone" || how == "all_wait") sleep_for_ever();
  for (int batch = 0; session.rank() == who && batch < 12; ++batch) {
    watchdog.enter("held-out", 1);
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
  }
  session.control().barrier();
  watchdog.stop();
  return ExitCode::kDone;
}

// Twenty steps, each of which needs all ranks; the misbehaviour comes in step 5.
ExitCode work(const MpiSession& session, const std::string& how, int who) {
  if (how == "shared_error") throw cfm::SharedError("--lr is negative");
  if (how == "shared_error_in_flight") {
    cfm::parallel::StepControl control(session);
    control.post({.sums = {1.0}});
    throw cfm::SharedError("met with a reduction under way");
  }
  cfm::parallel::ProcessGroup group(session, c10::Device(c10::kCPU), std::chrono::seconds(60));
  cfm::parallel::StepControl control(session);
  cfm::parallel::WatchdogConfig config;
  if (how == "hangs") config.step_timeout = std::chrono::seconds(3);
  if (how == "stopped") config.silence_timeout = std::chrono::seconds(4);
  config.heartbeat = std::chrono::milliseconds(500);
  cfm::parallel::Watchdog watchdog(session, config);
  bool stop = false;
  for (int step = 0; step < 20 && !stop; ++step) {
    watchdog.enter("data", step);
    if (step == 5 && session.rank() == who) kMisbehaviour.at(how)();
    watchdog.enter("backward", step);
    if (control.pending()) stop = control.collect().stop_requested;
    control.post({.stop_requested = how == "nothing" && step == 10});
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  if (control.pending()) control.collect();
  watchdog.stop();
  group.shut_down();
  return stop ? ExitCode::kRequeue : ExitCode::kDone;
}

}  // namespace

int main(int argc, char** argv) {
  std::optional<cfm::StopSignal> stop;
  if (argc > 3) stop.emplace();  // as the trainer: the launcher's SIGTERM does not end the others at once
  const std::string how = argc > 1 ? argv[1] : "nothing";
  const int who = argc > 2 ? std::atoi(argv[2]) : 0;
  return cfm::parallel::run_mpi_main(argc, argv, [&](MpiSession& session) {
    if (argc > 3) session.failures().write_to(argv[3]);
    if (how == "done") return ExitCode::kDone;
    if (how == "works_long" || how == "hangs_alone" || how == "all_wait" || how == "hangs_at_the_start") {
      return let_wait(session, how, who);
    }
    return work(session, how, who);
  });
}
