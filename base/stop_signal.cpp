#include "base/stop_signal.h"

#include <array>
#include <csignal>

namespace cfm {
namespace {

constexpr std::array kSignals{SIGUSR1, SIGUSR2, SIGTERM};
volatile std::sig_atomic_t raised_signal = 0;  // a handler can reach nothing else

void remember(int signal) { raised_signal = signal; }

}  // namespace

StopSignal::StopSignal() {
  raised_signal = 0;
  struct sigaction action {};
  action.sa_handler = remember;
  action.sa_flags = SA_RESTART;
  for (const int signal : kSignals) sigaction(signal, &action, nullptr);
}

int StopSignal::raised() const { return raised_signal; }

int raised_stop_signal() { return raised_signal; }

}  // namespace cfm
