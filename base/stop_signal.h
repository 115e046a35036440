#pragma once
namespace cfm {

// From its construction to the end of the process, SIGUSR1, SIGUSR2 and SIGTERM, however many, ask the program to keep
// what it has and stop instead of killing it. The handler only sets a flag. Made first thing in main: a signal that
// comes while MPI starts or ends must not kill a rank either. One in a process.
class StopSignal {
 public:
  StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;
  // The last one's number, 0 while none has come.
  int raised() const;
};

// The same where the StopSignal is not at hand; 0 also in a program that has none.
int raised_stop_signal();

}  // namespace cfm
