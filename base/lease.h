#pragma once
// Who owns what on a file system that several machines share: a run, the evaluation of a checkpoint. A lease is a file
// that is created exclusively, names its holder, and beats. Clocks of different machines are never compared: an
// observer calls a lease stale when it has not beaten for long enough by the observer's own clock.

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "base/error.h"

namespace cfm {

struct LeaseTimes {
  std::chrono::milliseconds beat{5'000};
  std::chrono::milliseconds expiry{60'000};  // without a beat
};

inline constexpr double kLongestLease = 86400;  // seconds to expiry
Problems lease_problems(double lease_seconds);  // of --lease_seconds

// With enough beats to expiry that a few may be late, or out of another machine's sight; one every five seconds at the
// least, so that an observer of another expiry sees them too. REQUIRES: no lease_problems(expiry_seconds).
LeaseTimes lease_times(double expiry_seconds);

// Of this process, or read from a lease.
struct LeaseHolder {
  std::string id;            // of this one taking; no other has it
  std::string host;          //
  std::string space;         // in which `process` is a number: boot and pid namespace
  std::string process;       // "4711", and when it began
  std::string job;           // Slurm's number; empty without it
  int attempt = 0;           // how often Slurm has restarted the job
  std::string text() const;  // "host n1, process 4711, Slurm job 12 (restart 1)"
};

// A held lease. Beats on a thread of its own until it is destroyed; then the file is removed, if it is still ours.
class Lease {
 public:
  ~Lease();
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  // What the file says now. kGone: it is not there. kUnseen: it cannot be read, which may pass.
  enum class State { kHeld, kAnothers, kGone, kUnseen };
  // Looked up, not remembered; to be asked before every commit. Takes two seconds where it is neither held nor
  // another's.
  State state() const;
  bool held() const { return state() == State::kHeld; }
  // Whether a beat has found another's name in the file: remembered and cheap, for who wants to know between commits.
  // False does not say that it is held.
  bool lost() const { return lost_; }
  const std::filesystem::path& file() const { return file_; }

 private:
  friend class LeaseSeeker;
  friend std::unique_ptr<Lease> new_lease(const std::filesystem::path&, const std::string&, LeaseTimes);
  Lease(std::filesystem::path file, LeaseHolder holder, LeaseTimes times);
  void beat_until_ended();
  const std::filesystem::path file_;
  const LeaseHolder holder_;
  const LeaseTimes times_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool ending_ = false;
  std::atomic<bool> lost_ = false;
  std::thread thread_;  // last: it uses all of the above
};

// A lease that no other asks for: folder/<prefix><id>.lease, by which its holder is found. Error(kRetry) if it cannot
// be written; a NoRoom where that is why.
std::unique_ptr<Lease> new_lease(const std::filesystem::path& folder, const std::string& prefix, LeaseTimes times = {});

// One that wants a lease, and remembers what it has seen of its present holder.
class LeaseSeeker {
 public:
  explicit LeaseSeeker(std::filesystem::path file, LeaseTimes times = {});
  // Takes it if nobody holds it, if its holder is known to have ended (a process of this machine that is no more, an
  // earlier attempt of this Slurm job), or if it has not beaten for times.expiry since this seeker first saw that beat.
  // Error(kRetry) if the file cannot be written; a NoRoom where that is why.
  std::unique_ptr<Lease> try_take();
  // Whether somebody holds it, as far as can be seen; nothing is taken. One that has not been seen to beat for
  // times.expiry, or is known to have ended, does not.
  bool is_held();
  // Whether it is held by one that lives: looks until the holder has beaten, which shows it. False once nobody holds
  // it, as is_held() tells; false too if `gave_up`, asked between looks, says so. `waits` is called once if the first
  // look finds a holder. Nothing is taken.
  bool see_alive(const std::function<bool()>& gave_up, const std::function<void(const LeaseHolder&)>& waits);
  // Asks until it is taken, or the holder has beaten, which shows that it lives; nullptr then. `gave_up` is asked
  // between looks; nullptr too if it says so. `waits` is called once if the first look finds a holder.
  std::unique_ptr<Lease> take_or_see_alive(const std::function<bool()>& gave_up,
                                           const std::function<void(const LeaseHolder&)>& waits);
  // Who holds it, as of the last look.
  const LeaseHolder& holder() const { return holder_; }

 private:
  using Clock = std::chrono::steady_clock;
  bool make_way(const std::string& seen) const;
  std::chrono::milliseconds between_looks() const;
  bool shows_life(const std::string& text);  // of the file, as it is now
  const std::filesystem::path file_;
  const LeaseTimes times_;
  const LeaseHolder me_;
  LeaseHolder holder_;
  std::string seen_;  // the file's text at the last look
  Clock::time_point since_;
};

}  // namespace cfm
