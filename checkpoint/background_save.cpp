#include "checkpoint/background_save.h"

#include <c10/util/ParallelGuard.h>

#include <utility>

namespace cfm::checkpoint {

BackgroundSave::BackgroundSave(std::function<void(const SaveProgress&)> work)
    : thread_([this, work = std::move(work)] { run(work); }) {}

BackgroundSave::~BackgroundSave() {
  if (thread_.joinable()) thread_.join();
}

void BackgroundSave::run(const std::function<void(const SaveProgress&)>& work) {
  const c10::ParallelGuard alone(true);  // LibTorch's copies on this thread start no team of threads
  const auto set = [this](bool& flag) {
    {
      const std::lock_guard lock(mutex_);
      flag = true;
    }
    wake_.notify_all();
  };
  std::exception_ptr thrown;
  try {
    work({.copied = [&] { set(copied_); }, .moved = [&] { set(moved_); }});
  } catch (...) {
    thrown = std::current_exception();
  }
  const std::lock_guard lock(mutex_);
  thrown_ = thrown;
  copied_ = ended_ = true;
  ended_at_ = Clock::now();
  wake_.notify_all();
}

void BackgroundSave::await_copy() {
  std::unique_lock lock(mutex_);
  wake_.wait(lock, [this] { return copied_; });
}

bool BackgroundSave::ended() const {
  const std::lock_guard lock(mutex_);
  return ended_;
}

void BackgroundSave::wait(const std::function<void()>& moves) {
  std::unique_lock lock(mutex_);
  while (!ended_) {
    wake_.wait(lock, [this] { return ended_ || moved_; });
    if (!std::exchange(moved_, false)) continue;
    lock.unlock();
    moves();
    lock.lock();
  }
  if (thrown_) std::rethrow_exception(thrown_);
}

double BackgroundSave::seconds() const {
  const std::lock_guard lock(mutex_);
  return std::chrono::duration<double>(ended_at_ - began_).count();
}

}  // namespace cfm::checkpoint
