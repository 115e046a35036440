#pragma once
#include <chrono>
#include <filesystem>
#include <functional>

#include "base/stop_signal.h"
#include "parallel/mpi_session.h"

namespace cfm::evaluator {

// Thrown by SharedStop::throw_if_asked through a work that knows no stop.
struct Stopped {};

// A signal to one rank stops all of them, though they meet only at the end of their work: the rank that got it leaves
// an empty file, for which the others look every second.
class SharedStop {
 public:
  // `file`: the same on all ranks, and no other start's.
  SharedStop(const StopSignal& signal, std::filesystem::path file);
  bool asked();
  // To be handed, as a function to call now and then, to what is to end in a Stopped.
  void throw_if_asked() {
    if (asked()) throw Stopped{};
  }
  // Stops all ranks: this one cannot go on.
  void ask();

 private:
  using Clock = std::chrono::steady_clock;
  const StopSignal& signal_;
  std::filesystem::path file_;
  Clock::time_point looked_;
  bool asked_ = false;
};

// Does each rank's own share of a work: all return, or all throw SharedError. A rank whose share fails asks the others
// to stop, if there is a `stop`: they need not finish theirs. Collective.
void agree_on_shares(const parallel::MpiSession& session, SharedStop* stop, const std::function<void()>& share);

}  // namespace cfm::evaluator
