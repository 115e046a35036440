#include "parallel/mpi_handle.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <thread>

#include "parallel/exit_file.h"

namespace cfm::parallel {
namespace {

using Clock = std::chrono::steady_clock;

}  // namespace

void write_to_stderr(const std::string& text) {
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t written = ::write(STDERR_FILENO, text.data() + done, text.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;
    done += static_cast<size_t>(written);
  }
}

void mpi_check(int code, const char* call) {
  if (code == MPI_SUCCESS) return;
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  MPI_Error_string(code, text.data(), &length);
  throw Error(std::string(call) + " failed: " + std::string(text.data(), static_cast<size_t>(length)),
              ExitCode::kRetry);
}

bool wait_patiently(MPI_Request& request, const WaitLimits& limits) {
  constexpr auto kEager = std::chrono::microseconds(50);  // others are usually close behind
  const auto start = Clock::now();
  while (true) {
    int done = 0;
    mpi_check(MPI_Test(&request, &done, MPI_STATUS_IGNORE), "MPI_Test");
    if (done != 0) return true;
    const auto waited = Clock::now() - start;
    if (waited < kEager) {
      ::sched_yield();
      continue;
    }
    if (limits.gave_up && limits.gave_up()) return false;
    if (limits.timeout.count() > 0 && waited > limits.timeout) return false;
    std::this_thread::sleep_for(pause_after(waited, std::chrono::microseconds(50), std::chrono::milliseconds(2)));
  }
}

std::chrono::nanoseconds pause_after(std::chrono::nanoseconds waited, std::chrono::nanoseconds shortest,
                                     std::chrono::nanoseconds longest) {
  return std::clamp(waited / 16, shortest, longest);
}

bool meet(MPI_Comm comm, const WaitLimits& limits) {
  MPI_Request request = MPI_REQUEST_NULL;
  mpi_check(MPI_Ibarrier(comm, &request), "MPI_Ibarrier");
  return wait_patiently(request, limits);
}

std::string rank_name(int rank, const std::string& host) { return "rank " + std::to_string(rank) + " on host " + host; }

void exit_soon_at_the_latest(ExitCode code) {
  std::thread([code] {
    std::this_thread::sleep_for(std::chrono::seconds(10));
    ::_exit(static_cast<int>(code));
  }).detach();
}

void end_all_ranks(const std::string& text, ExitCode code) {
  write_to_stderr(text + "\n");
  exit_soon_at_the_latest(code);  // also if a file system hangs
  write_exit_file(code);
  std::this_thread::sleep_for(std::chrono::milliseconds(200));  // mpirun drops what it has not forwarded yet
  MPI_Abort(MPI_COMM_WORLD, static_cast<int>(code));
  ::_exit(static_cast<int>(code));
}

}  // namespace cfm::parallel
