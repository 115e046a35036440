#include "parallel/watchdog.h"

#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "base/process_name.h"
#include "parallel/failure_log.h"
#include "parallel/heartbeat.h"
#include "parallel/job_view.h"
#include "parallel/mpi_handle.h"

namespace cfm::parallel {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kBeatTag = 2;

struct Outgoing {
  Beat beat;
  MPI_Request request = MPI_REQUEST_NULL;
};

double wall_clock() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// The processes of this machine's ranks. Collective.
std::vector<std::string> processes_here(const Communicator& communicator) {
  const std::string space = process_space();
  std::vector<std::string> processes = communicator.all_gather(space + "\n" + process_name(::getpid()));
  for (std::string& process : processes) {
    const size_t end = process.find('\n');
    process = process.substr(0, end) == space ? process.substr(end + 1) : "";
  }
  return processes;
}

}  // namespace

struct Watchdog::Impl {
  const MpiSession& session;
  Communicator communicator;
  JobView view;                        // of the thread alone, but for what never changes
  size_t me;                           // this rank
  std::vector<std::string> processes;  // by rank; empty for those that this rank's machine does not have

  // Seconds in which this thread was there to watch: it stands still while the process is suspended or starved, so a
  // job that was stopped as a whole is not reported when it goes on.
  std::atomic<double> clock{0};
  Clock::time_point last_tick = Clock::now();

  std::mutex progress_mutex;
  const char* phase = "start";
  int64_t step = 0;
  bool started = false, waits = false;
  double progress_at = 0;  // by `clock`
  double progress_time = wall_clock();

  std::mutex mutex;
  std::condition_variable wake;
  bool stopping = false, abandoned = false;

  // Of the thread alone.
  std::vector<std::unique_ptr<Outgoing>> sent;  // to each monitor but this rank
  double last_beat = -1e9;
  bool told_of_gone = false;
  bool goodbye_sent = false;
  std::thread thread;  // last: it uses all of the above

  Impl(const MpiSession& s, const WatchdogConfig& watchdog_config)
      : session(s),
        communicator(s.duplicate()),
        view{.config = watchdog_config, .rank = communicator.rank(), .hosts = {}, .monitors = {}, .heard = {}},
        me(static_cast<size_t>(communicator.rank())) {
    view.hosts = communicator.all_gather(session.host());
    view.monitors = monitors_of(view.hosts);
    view.heard.resize(view.hosts.size());
    for (Heard& h : view.heard) h.beat.limit = watchdog_config.start_timeout.count();
    processes = processes_here(communicator);
    for (size_t m = 0; m < view.monitors.size(); ++m) sent.push_back(std::make_unique<Outgoing>());
    thread = std::thread([this] { run(); });
  }

  void run();
  bool wait_for_tick();
  bool is_stopping() {
    const std::lock_guard lock(mutex);
    return stopping;
  }
  void advance_clock();
  void note_progress(const char* new_phase, int64_t new_step, bool waiting);
  Beat my_beat();
  void send_beats(bool goodbye);
  bool all_sent();
  void receive_beats();
  void tell_of_gone();
};

// False when the object goes away.
bool Watchdog::Impl::wait_for_tick() {
  std::unique_lock lock(mutex);
  const double seconds = stopping ? 0.001 : view.tick();
  const bool was_stopping = stopping;
  wake.wait_for(lock, std::chrono::duration<double>(seconds), [&] { return abandoned || stopping != was_stopping; });
  return !abandoned;
}

void Watchdog::Impl::advance_clock() {
  const auto now = Clock::now();
  const double passed = std::chrono::duration<double>(now - last_tick).count();
  last_tick = now;
  clock = clock + std::min(passed, 4 * view.tick());
  view.now = clock;
}

void Watchdog::Impl::note_progress(const char* new_phase, int64_t new_step, bool waiting) {
  session.failures().enter(new_phase, new_step);
  const std::lock_guard lock(progress_mutex);
  phase = new_phase;
  step = new_step;
  started = true;
  waits = waiting;
  progress_at = clock;
  progress_time = wall_clock();
}

Beat Watchdog::Impl::my_beat() {
  const std::lock_guard lock(progress_mutex);
  Beat beat;
  beat.step = step;
  beat.idle_seconds = clock - progress_at;
  beat.progress_time = progress_time;
  beat.limit = (started ? view.config.step_timeout : view.config.start_timeout).count();
  beat.waits = waits ? 1 : 0;
  beat.phase.fill('\0');
  std::strncpy(beat.phase.data(), phase, beat.phase.size() - 1);
  return beat;
}

void Watchdog::Impl::send_beats(bool goodbye) {
  Beat beat = my_beat();
  beat.goodbye = goodbye ? 1 : 0;
  view.heard[me] = {beat, clock};
  // A monitor that takes no more messages is itself noticed; nothing piles up.
  if (!all_sent()) return;
  for (size_t m = 0; m < sent.size(); ++m) {
    if (view.monitors[m] == view.rank) continue;
    sent[m]->beat = beat;
    MPI_Isend(&sent[m]->beat, sizeof(Beat), MPI_BYTE, view.monitors[m], kBeatTag, communicator.handle().comm,
              &sent[m]->request);
  }
  last_beat = clock;
  goodbye_sent = goodbye;
}

bool Watchdog::Impl::all_sent() {
  bool all = true;
  for (const auto& outgoing : sent) {
    int done = 1;
    if (outgoing->request != MPI_REQUEST_NULL) MPI_Test(&outgoing->request, &done, MPI_STATUS_IGNORE);
    all = all && done != 0;
  }
  return all;
}

void Watchdog::Impl::receive_beats() {
  const MPI_Comm comm = communicator.handle().comm;
  while (true) {
    int there = 0;
    MPI_Status status;
    if (MPI_Iprobe(MPI_ANY_SOURCE, kBeatTag, comm, &there, &status) != MPI_SUCCESS || there == 0) return;
    Beat beat;
    if (MPI_Recv(&beat, sizeof(Beat), MPI_BYTE, status.MPI_SOURCE, kBeatTag, comm, MPI_STATUS_IGNORE) != MPI_SUCCESS)
      return;
    view.heard[static_cast<size_t>(status.MPI_SOURCE)] = {beat, clock};
  }
}

// A process that has ended while its rank should be at work was killed: it could not say so, and the launcher will end
// the others in a moment. The lowest rank of its machine that is left says it; that the job ends is the launcher's
// matter, or, where it does not mind, that of JobView::problem().
void Watchdog::Impl::tell_of_gone() {
  if (told_of_gone || !session.failures().writes()) return;
  std::optional<size_t> gone;
  for (size_t r = 0; r < processes.size(); ++r) {
    if (processes[r].empty()) continue;
    const bool lives = r == me || process_name(std::atoi(processes[r].c_str())) == processes[r];
    if (!lives && !gone) gone = r;
    if (lives && r < me) return;  // that one tells
  }
  if (!gone) return;
  told_of_gone = true;
  if (session.failures().has_grown()) return;  // a rank that failed has said why, and is gone for that
  const std::string text =
      (view.is_monitor() ? view.describe(*gone) : rank_name(static_cast<int>(*gone), view.hosts[*gone])) +
      " is gone: its process was killed (out of memory? a signal?) or ended without a word";
  session.failures().record("gone", text, view.seen(*gone), ExitCode::kRetry, view.all_seen());
  write_to_stderr("cfm: watchdog on " + rank_name(view.rank, view.hosts[me]) + ": " + text + "\n");
}

void Watchdog::Impl::run() {
  while (wait_for_tick()) {
    advance_clock();
    const bool leaving = is_stopping();
    if (clock - last_beat >= view.config.heartbeat.count() || (leaving && !goodbye_sent)) send_beats(leaving);
    if (!goodbye_sent) view.heard[me] = {my_beat(), clock};
    if (view.is_monitor()) {
      receive_beats();
    } else {
      // Of the others it knows nothing, and minds only itself.
      for (size_t r = 0; r < view.heard.size(); ++r) {
        if (r != me) view.heard[r].beat.goodbye = 1;
      }
    }
    const bool all_left =
        std::all_of(view.heard.begin(), view.heard.end(), [](const Heard& h) { return h.beat.goodbye != 0; });
    if (goodbye_sent && all_sent() && all_left) return;
    tell_of_gone();
    if (const auto problem = view.problem()) {
      session.failures().record(problem->cause, problem->text, view.seen(problem->rank), ExitCode::kRetry,
                                view.all_seen());
      end_all_ranks(view.report(problem->text), ExitCode::kRetry);
    }
  }
}

Watchdog::Watchdog(const MpiSession& session, const WatchdogConfig& config)
    : impl_(std::make_unique<Impl>(session, config)) {}

Watchdog::~Watchdog() {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->abandoned = true;
  }
  impl_->wake.notify_all();
  if (impl_->thread.joinable()) impl_->thread.join();
  // MPI may still read a beat that nobody has taken.
  if (!impl_->all_sent()) {
    for (auto& outgoing : impl_->sent) static_cast<void>(outgoing.release());
  }
}

void Watchdog::enter(const char* phase, int64_t step) { impl_->note_progress(phase, step, /*waiting=*/false); }

void Watchdog::wait(const char* phase, int64_t step) { impl_->note_progress(phase, step, /*waiting=*/true); }

void Watchdog::stop() {
  impl_->note_progress("stop", impl_->step, /*waiting=*/false);
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->stopping = true;
  }
  impl_->wake.notify_all();
  if (impl_->thread.joinable()) impl_->thread.join();
}

}  // namespace cfm::parallel
