#include "parallel/watchdog.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <optional>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "base/process_name.h"
#include "parallel/failure_log.h"
#include "parallel/heartbeat.h"
#include "parallel/mpi_handle.h"

namespace cfm::parallel {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kBeatTag = 2;
// Ranks that hear all others: the second is there for the case that the first is the one that stands still.
constexpr int kMonitors = 2;
constexpr size_t kListedRanks = 64;

struct Outgoing {
  Beat beat;
  MPI_Request request = MPI_REQUEST_NULL;
};

double wall_clock() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string format_seconds(double seconds) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.1f", seconds);
  return text.data();
}

// Why the job ends, and whose fault that is.
struct Problem {
  const char* cause;
  std::string text;
  size_t rank;
};

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
  WatchdogConfig config;
  int rank, size;
  std::vector<std::string> hosts;
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
  std::vector<Heard> heard;                     // monitors: by rank
  std::vector<std::unique_ptr<Outgoing>> sent;  // to each monitor but this rank
  double last_beat = -1e9;
  bool told_of_gone = false;
  bool goodbye_sent = false;
  std::thread thread;  // last: it uses all of the above

  Impl(const MpiSession& s, const WatchdogConfig& watchdog_config)
      : session(s),
        communicator(s.duplicate()),
        config(watchdog_config),
        rank(communicator.rank()),
        size(communicator.size()) {
    hosts = communicator.all_gather(session.host());
    processes = processes_here(communicator);
    heard.resize(static_cast<size_t>(size));
    for (Heard& h : heard) h.beat.limit = config.start_timeout.count();
    for (int m = 0; m < std::min(kMonitors, size); ++m) sent.push_back(std::make_unique<Outgoing>());
    thread = std::thread([this] { run(); });
  }

  bool is_monitor() const { return rank < kMonitors; }
  double tick() const { return std::min(config.heartbeat.count() / 4, 0.25); }
  // Later monitors leave the report to earlier ones, the other ranks to all of them.
  double grace() const { return std::min(rank, kMonitors) * (2 * config.heartbeat.count() + 1); }

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
  double idle(size_t r) const { return heard[r].beat.idle_seconds + (clock - heard[r].at); }
  double silence(size_t r) const { return r == static_cast<size_t>(rank) ? 0 : clock - heard[r].at; }
  std::optional<Problem> find_problem() const;
  std::string describe(size_t r) const;
  std::string report(const std::string& problem) const;
  RankSeen seen(size_t r) const;
  std::vector<RankSeen> all_seen() const;
  void tell_of_gone();
};

// False when the object goes away.
bool Watchdog::Impl::wait_for_tick() {
  std::unique_lock lock(mutex);
  const double seconds = stopping ? 0.001 : tick();
  const bool was_stopping = stopping;
  wake.wait_for(lock, std::chrono::duration<double>(seconds), [&] { return abandoned || stopping != was_stopping; });
  return !abandoned;
}

void Watchdog::Impl::advance_clock() {
  const auto now = Clock::now();
  const double passed = std::chrono::duration<double>(now - last_tick).count();
  last_tick = now;
  clock = clock + std::min(passed, 4 * tick());
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
  beat.limit = (started ? config.step_timeout : config.start_timeout).count();
  beat.waits = waits ? 1 : 0;
  beat.phase.fill('\0');
  std::strncpy(beat.phase.data(), phase, beat.phase.size() - 1);
  return beat;
}

void Watchdog::Impl::send_beats(bool goodbye) {
  Beat beat = my_beat();
  beat.goodbye = goodbye ? 1 : 0;
  heard[static_cast<size_t>(rank)] = {beat, clock};
  // A monitor that takes no more messages is itself noticed; nothing piles up.
  if (!all_sent()) return;
  for (size_t m = 0; m < sent.size(); ++m) {
    if (static_cast<int>(m) == rank) continue;
    sent[m]->beat = beat;
    MPI_Isend(&sent[m]->beat, sizeof(Beat), MPI_BYTE, static_cast<int>(m), kBeatTag, communicator.handle().comm,
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
    heard[static_cast<size_t>(status.MPI_SOURCE)] = {beat, clock};
  }
}

std::string Watchdog::Impl::describe(size_t r) const {
  return rank_name(static_cast<int>(r), hosts[r]) + " (" + heard[r].beat.phase.data() + ", step " +
         std::to_string(heard[r].beat.step) + ")";
}

// Names the rank to blame, if a limit is passed: one that is silent, or else the one that is furthest behind. The
// others wait for it, a step or a moment later. A rank that said that it waits is minded only if all of them do.
std::optional<Problem> Watchdog::Impl::find_problem() const {
  std::vector<size_t> present;
  for (size_t r = 0; r < heard.size(); ++r) {
    if (heard[r].beat.goodbye == 0) present.push_back(r);
  }
  // By what a rank said itself: it may have gone on since. One that says nothing more is silent.
  const auto overdue = [&](size_t r) {
    const Beat& beat = heard[r].beat;
    return (beat.goodbye != 0 ? idle(r) : beat.idle_seconds) > beat.limit + grace();
  };
  size_t stuck = 0;  // ranks of which nothing will come: they wait or have finished, and that long ago
  for (size_t r = 0; r < heard.size(); ++r) {
    stuck += (heard[r].beat.waits != 0 || heard[r].beat.goodbye != 0) && overdue(r) ? 1 : 0;
  }
  const bool all_wait = is_monitor() && stuck == heard.size();
  const auto minded = [&](size_t r) { return all_wait || heard[r].beat.waits == 0; };
  const bool ends = std::any_of(present.begin(), present.end(), [&](size_t r) {
    return silence(r) > config.silence_timeout.count() + grace() || (minded(r) && overdue(r));
  });
  if (!ends) return std::nullopt;
  const auto by_silence = [&](size_t a, size_t b) { return silence(a) < silence(b); };
  const size_t quietest = *std::max_element(present.begin(), present.end(), by_silence);
  if (silence(quietest) > 3 * config.heartbeat.count() + 2 * tick()) {
    return Problem{"silent",
                   describe(quietest) + " has not been heard of for " + format_seconds(silence(quietest)) +
                       " s: its process or its node is gone, stopped or cut off",
                   quietest};
  }
  const auto by_progress = [&](size_t a, size_t b) {
    return std::tuple(!minded(a), heard[a].beat.step, heard[a].beat.progress_time) <
           std::tuple(!minded(b), heard[b].beat.step, heard[b].beat.progress_time);
  };
  const size_t last = *std::min_element(present.begin(), present.end(), by_progress);
  return Problem{"no progress",
                 describe(last) + " has made no progress for " + format_seconds(idle(last)) + " s (limit " +
                     format_seconds(heard[last].beat.limit) + " s)",
                 last};
}

RankSeen Watchdog::Impl::seen(size_t r) const {
  const bool known = is_monitor() || r == static_cast<size_t>(rank);
  return {.rank = static_cast<int>(r),
          .host = hosts[r],
          .phase = known ? heard[r].beat.phase.data() : "",
          .step = heard[r].beat.step,
          .idle_seconds = idle(r),
          .finished = known && heard[r].beat.goodbye != 0};
}

std::vector<RankSeen> Watchdog::Impl::all_seen() const {
  std::vector<RankSeen> all;
  for (size_t r = 0; is_monitor() && r < heard.size(); ++r) all.push_back(seen(r));
  return all;
}

// A process that has ended while its rank should be at work was killed: it could not say so, and the launcher will end
// the others in a moment. The lowest rank of its machine that is left says it; that the job ends is the launcher's
// matter, or, where it does not mind, that of find_problem().
void Watchdog::Impl::tell_of_gone() {
  if (told_of_gone || !session.failures().writes()) return;
  std::optional<size_t> gone;
  for (size_t r = 0; r < processes.size(); ++r) {
    if (processes[r].empty()) continue;
    const bool lives = r == static_cast<size_t>(rank) || process_name(std::atoi(processes[r].c_str())) == processes[r];
    if (!lives && !gone) gone = r;
    if (lives && r < static_cast<size_t>(rank)) return;  // that one tells
  }
  if (!gone) return;
  told_of_gone = true;
  if (session.failures().has_grown()) return;  // a rank that failed has said why, and is gone for that
  const std::string text = (is_monitor() ? describe(*gone) : rank_name(static_cast<int>(*gone), hosts[*gone])) +
                           " is gone: its process was killed (out of memory? a signal?) or ended without a word";
  session.failures().record("gone", text, seen(*gone), ExitCode::kRetry, all_seen());
  write_to_stderr("cfm: watchdog on " + rank_name(rank, hosts[static_cast<size_t>(rank)]) + ": " + text + "\n");
}

std::string Watchdog::Impl::report(const std::string& problem) const {
  std::string text =
      "cfm: watchdog on " + rank_name(rank, hosts[static_cast<size_t>(rank)]) + ": " + problem + ". Ending the job.";
  if (!is_monitor()) return text;
  std::vector<size_t> ranks(static_cast<size_t>(size));
  for (size_t r = 0; r < ranks.size(); ++r) ranks[r] = r;
  if (ranks.size() > kListedRanks) {
    std::stable_sort(ranks.begin(), ranks.end(), [&](size_t a, size_t b) { return idle(a) > idle(b); });
  }
  for (size_t i = 0; i < std::min(ranks.size(), kListedRanks); ++i) {
    const size_t r = ranks[i];
    text += "\n  " + describe(r) + ", " + format_seconds(idle(r)) + " s ago" +
            (heard[r].beat.goodbye != 0 ? ", has finished" : "");
  }
  if (ranks.size() > kListedRanks) {
    text += "\n  and " + std::to_string(ranks.size() - kListedRanks) + " ranks whose last progress is more recent";
  }
  return text;
}

void Watchdog::Impl::run() {
  while (wait_for_tick()) {
    advance_clock();
    const bool leaving = is_stopping();
    if (clock - last_beat >= config.heartbeat.count() || (leaving && !goodbye_sent)) send_beats(leaving);
    if (!goodbye_sent) heard[static_cast<size_t>(rank)] = {my_beat(), clock};
    if (is_monitor()) {
      receive_beats();
    } else {
      // Of the others it knows nothing, and minds only itself.
      for (size_t r = 0; r < heard.size(); ++r) {
        if (r != static_cast<size_t>(rank)) heard[r].beat.goodbye = 1;
      }
    }
    const bool all_left = std::all_of(heard.begin(), heard.end(), [](const Heard& h) { return h.beat.goodbye != 0; });
    if (goodbye_sent && all_sent() && all_left) return;
    tell_of_gone();
    if (const auto problem = find_problem()) {
      session.failures().record(problem->cause, problem->text, seen(problem->rank), ExitCode::kRetry, all_seen());
      end_all_ranks(report(problem->text), ExitCode::kRetry);
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
