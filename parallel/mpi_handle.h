#pragma once
// What this folder's files share about MPI itself; nothing outside parallel/ includes it.

#include <mpi.h>

#include <chrono>
#include <functional>
#include <string>

#include "base/error.h"

namespace cfm::parallel {

struct MpiHandle {
  MPI_Comm comm = MPI_COMM_NULL;
};

// Throws Error(kRetry) naming the call and MPI's text for `code`.
void mpi_check(int code, const char* call);

// Limits of a wait: both empty means for ever.
struct WaitLimits {
  std::chrono::duration<double> timeout{0};  // zero: none
  std::function<bool()> gave_up;             // asked between polls
};

// Completes `request` without keeping a core busy: other ranks may be computing on it. False if a limit was met first;
// the request is then still active, and so must its buffers stay.
bool wait_patiently(MPI_Request& request, const WaitLimits& limits = {});

// How long to sleep before the next poll of something that has been waited for since `waited`: a sixteenth of it, so
// that a long wait costs neither a core nor much time at its end, but within [shortest, longest].
std::chrono::nanoseconds pause_after(std::chrono::nanoseconds waited, std::chrono::nanoseconds shortest,
                                     std::chrono::nanoseconds longest);

// Waits until all ranks of `comm` are here, so that the blocking collective behind it moves data at full speed at once.
// False if a limit was met first.
bool meet(MPI_Comm comm, const WaitLimits& limits = {});

// "rank r on host h"
std::string rank_name(int rank, const std::string& host);

// Writes `text` whole to standard error.
void write_to_stderr(const std::string& text);

// Writes `text` whole to standard error, lets mpirun forward it, then ends every rank of the job with `code`.
[[noreturn]] void end_all_ranks(const std::string& text, ExitCode code);

// Ends this process with `code` if it is still there in ten seconds: MPI_Abort and MPI_Finalize can hang on a broken
// job.
void exit_soon_at_the_latest(ExitCode code);

}  // namespace cfm::parallel
