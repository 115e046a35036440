#pragma once
#include <chrono>
#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>

namespace cfm::checkpoint {

// How the thread of a save says where it is.
struct SaveProgress {
  std::function<void()> copied;  // nothing of the state is needed any more
  std::function<void()> moved;   // some bytes further
};

// A save on a thread of its own. The destructor waits for its end: to be met only where a run ends early, and then the
// save may still become whole.
class BackgroundSave {
 public:
  explicit BackgroundSave(std::function<void(const SaveProgress&)> work);
  ~BackgroundSave();
  BackgroundSave(const BackgroundSave&) = delete;
  BackgroundSave& operator=(const BackgroundSave&) = delete;
  void await_copy();
  bool ended() const;
  // Waits for the end and rethrows what the work threw; calls `moves` now and then as long as the work moves.
  void wait(const std::function<void()>& moves);
  // From the beginning to the end. REQUIRES: ended().
  double seconds() const;

 private:
  using Clock = std::chrono::steady_clock;
  void run(const std::function<void(const SaveProgress&)>& work);
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  bool copied_ = false, ended_ = false, moved_ = false;
  std::exception_ptr thrown_;
  const Clock::time_point began_ = Clock::now();
  Clock::time_point ended_at_;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace cfm::checkpoint
