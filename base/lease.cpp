#include "base/lease.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <sstream>
#include <utility>

#include "base/durable_file.h"
#include "base/environment.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/hash.h"
#include "base/no_room.h"
#include "base/number_text.h"
#include "base/process_name.h"

namespace cfm {
namespace {

namespace fs = std::filesystem;

LeaseHolder this_process() {
  std::array<char, 256> host{};
  ::gethostname(host.data(), host.size() - 1);
  LeaseHolder holder{.id = "",
                     .host = host.data(),
                     .space = process_space(),
                     .process = process_name(::getpid()),
                     .job = from_environment("SLURM_JOB_ID"),
                     .attempt = number_or_zero(from_environment("SLURM_RESTART_COUNT"))};
  // A process that takes several at one time does so on several stacks.
  std::ostringstream all;
  all << holder.host << holder.space << holder.process << std::chrono::steady_clock::now().time_since_epoch().count()
      << static_cast<const void*>(&holder);
  holder.id = xxh3_128_hex(all.str().data(), all.str().size());
  return holder;
}

std::string text_of(const LeaseHolder& holder, uint64_t beat) {
  std::array<char, 32> beats{};
  std::snprintf(beats.data(), beats.size(), "%020llu", static_cast<unsigned long long>(beat));
  return "id=" + holder.id + "\nhost=" + holder.host + "\nspace=" + holder.space + "\nprocess=" + holder.process +
         "\njob=" + holder.job + "\nattempt=" + std::to_string(holder.attempt) + "\nbeat=" + beats.data() + "\n";
}

LeaseHolder holder_in(const std::string& text) {
  LeaseHolder holder;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const size_t equals = std::min(line.find('='), line.size());
    const std::string name = line.substr(0, equals), value = line.substr(std::min(equals + 1, line.size()));
    for (const auto& [known, field] : {std::pair{"id", &holder.id},
                                       {"host", &holder.host},
                                       {"space", &holder.space},
                                       {"process", &holder.process},
                                       {"job", &holder.job}})
      if (name == known) *field = value;
    if (name == "attempt") holder.attempt = number_or_zero(value);
  }
  return holder;
}

// Empty: there is no file, it is being made, or it cannot be read.
std::string read_text(const fs::path& file) { return try_read_file(file).bytes; }

bool is_there(const fs::path& file) {
  struct stat status {};
  return ::lstat(file.c_str(), &status) == 0;
}

bool has_ended(const LeaseHolder& holder, const LeaseHolder& me) {
  if (!holder.job.empty() && holder.job == me.job && holder.attempt < me.attempt) return true;
  if (holder.host != me.host || holder.space != me.space || holder.process.empty()) return false;
  return process_name(number_or_zero(holder.process)) != holder.process;
}

[[noreturn]] void fail(const std::string& doing, const fs::path& file, int number) {
  const std::string what = "cannot " + doing + " " + file.string() + ": " + std::strerror(number);
  if (number == ENOSPC || number == EDQUOT) throw NoRoom(what);
  throw Error(what, ExitCode::kRetry);
}

// 0 once all of it is on the disk; otherwise errno of what failed.
int put_durably(int descriptor, const std::string& text) {
  for (size_t done = 0; done < text.size();) {
    const ssize_t written = ::write(descriptor, text.data() + done, text.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno;
    done += static_cast<size_t>(written);
  }
  return ::fsync(descriptor) == 0 ? 0 : errno;
}

// Creates the file with this text; false if it is there.
bool create(const fs::path& file, const std::string& text) {
  failpoint("create", file);
  const int descriptor = ::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (descriptor < 0 && errno == EEXIST) return false;
  if (descriptor < 0) fail("create", file, errno);
  const int failure = put_durably(descriptor, text);
  ::close(descriptor);
  if (failure == 0) return true;
  ::unlink(file.c_str());
  fail("write", file, failure);
}

}  // namespace

Problems lease_problems(double lease_seconds) {
  if (lease_seconds >= 1 && lease_seconds <= kLongestLease) return {};
  return {"--lease_seconds=" + number_text(lease_seconds) + ": expected 1 to " + number_text(kLongestLease)};
}

LeaseTimes lease_times(double expiry_seconds) {
  constexpr int kBeatsToExpiry = 12;
  const std::chrono::milliseconds expiry(static_cast<int64_t>(1000 * expiry_seconds));
  return {.beat = std::min(expiry / kBeatsToExpiry, LeaseTimes().beat), .expiry = expiry};
}

std::string LeaseHolder::text() const {
  if (host.empty()) return "an unknown holder";
  return "host " + host + ", process " + process.substr(0, process.find('-')) +
         (job.empty() ? "" : ", Slurm job " + job + (attempt > 0 ? " (restart " + std::to_string(attempt) + ")" : ""));
}

Lease::Lease(fs::path file, LeaseHolder holder, LeaseTimes times)
    : file_(std::move(file)), holder_(std::move(holder)), times_(times), thread_([this] { beat_until_ended(); }) {}

Lease::~Lease() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  wake_.notify_all();
  thread_.join();
  if (holder_in(read_text(file_)).id == holder_.id) ::unlink(file_.c_str());
}

// Where the file is out of sight it is looked for again: a job that looked at a stale one is putting it back, or a
// network file system blinks.
Lease::State Lease::state() const {
  constexpr int kLooks = 20;
  constexpr std::chrono::milliseconds kBetween{100};
  FileBytes found;
  for (int look = 0; look < kLooks; ++look) {
    if (look > 0) std::this_thread::sleep_for(kBetween);
    found = try_read_file(file_);
    const std::string id = holder_in(found.bytes).id;
    if (!id.empty()) return id == holder_.id ? State::kHeld : State::kAnothers;
  }
  return found.error == ENOENT ? State::kGone : State::kUnseen;
}

// Writes into the very file that it has found to be ours: never makes one, nor writes into another's.
void Lease::beat_until_ended() {
  for (uint64_t beat = 1;; ++beat) {
    {
      std::unique_lock lock(mutex_);
      if (wake_.wait_for(lock, times_.beat, [this] { return ending_; })) return;
    }
    const int descriptor = ::open(file_.c_str(), O_RDWR | O_CLOEXEC);
    if (descriptor < 0) continue;  // gone, or out of sight for now: who asks before a commit is told
    const std::string text = text_of(holder_, beat);
    std::string there(text.size(), '\0');
    const ssize_t size = ::pread(descriptor, there.data(), there.size(), 0);
    const std::string id = holder_in(there.substr(0, static_cast<size_t>(std::max<ssize_t>(size, 0)))).id;
    if (id == holder_.id) {
      [[maybe_unused]] const ssize_t written = ::pwrite(descriptor, text.data(), text.size(), 0);
    } else if (!id.empty()) {
      lost_ = true;
    }
    ::close(descriptor);
  }
}

std::unique_ptr<Lease> new_lease(const fs::path& folder, const std::string& prefix, LeaseTimes times) {
  for (;;) {
    const LeaseHolder me = this_process();
    const fs::path file = folder / (prefix + me.id.substr(0, 12) + ".lease");
    if (create(file, text_of(me, 0))) return std::unique_ptr<Lease>(new Lease(file, me, times));
  }
}

LeaseSeeker::LeaseSeeker(fs::path file, LeaseTimes times)
    : file_(std::move(file)), times_(times), me_(this_process()), since_(Clock::now()) {}

// Moves the lease that says `seen` out of the way. Should it have changed hands in between, it is put back.
bool LeaseSeeker::make_way(const std::string& seen) const {
  const fs::path aside = file_.string() + "." + me_.id;
  if (::rename(file_.c_str(), aside.c_str()) != 0) return false;
  const bool same = read_text(aside) == seen;
  if (!same) [[maybe_unused]]
    const int back = ::link(aside.c_str(), file_.c_str());
  ::unlink(aside.c_str());
  return same;
}

bool LeaseSeeker::shows_life(const std::string& text) {
  const auto now = Clock::now();
  if (text != seen_) {
    since_ = now;
    seen_ = text;
    holder_ = holder_in(text);
  }
  return !has_ended(holder_, me_) && now - since_ < times_.expiry;
}

bool LeaseSeeker::is_held() { return is_there(file_) && shows_life(read_text(file_)); }

std::chrono::milliseconds LeaseSeeker::between_looks() const {
  return std::min<std::chrono::milliseconds>(times_.beat / 5, std::chrono::milliseconds(500));
}

bool LeaseSeeker::see_alive(const std::function<bool()>& gave_up,
                            const std::function<void(const LeaseHolder&)>& waits) {
  if (!is_held()) return false;
  std::string first = seen_;
  waits(holder_);
  while (!gave_up()) {
    std::this_thread::sleep_for(between_looks());
    if (!is_held()) return false;
    if (first.empty()) first = seen_;  // it was being made
    if (!seen_.empty() && seen_ != first) return true;
  }
  return false;
}

std::unique_ptr<Lease> LeaseSeeker::try_take() {
  for (int attempt = 0; attempt < 3; ++attempt) {
    if (create(file_, text_of(me_, 0))) return std::unique_ptr<Lease>(new Lease(file_, me_, times_));
    const std::string text = read_text(file_);
    if (shows_life(text)) return nullptr;
    if (!is_there(file_) || !make_way(text)) continue;
  }
  return nullptr;
}

std::unique_ptr<Lease> LeaseSeeker::take_or_see_alive(const std::function<bool()>& gave_up,
                                                      const std::function<void(const LeaseHolder&)>& waits) {
  std::unique_ptr<Lease> lease = try_take();
  if (lease) return lease;
  std::string first = seen_;
  waits(holder_);
  while (!gave_up()) {
    std::this_thread::sleep_for(between_looks());
    lease = try_take();
    if (lease) return lease;
    if (first.empty()) first = seen_;  // it was being made
    if (!seen_.empty() && seen_ != first) return nullptr;
  }
  return nullptr;
}

}  // namespace cfm
