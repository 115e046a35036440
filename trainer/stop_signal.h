#pragma once
namespace cfm::trainer {

// While it lives, SIGUSR1, SIGUSR2 and SIGTERM ask the run to save and stop instead of killing it. The handler only
// sets a flag. One at a time in a process.
class StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;
  // The signal's number, 0 while none has come.
  int raised() const;
};

}  // namespace cfm::trainer
