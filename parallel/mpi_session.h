#pragma once
// MPI as a scope: launch, who am I, host-side agreement, and the end of the whole job when one rank fails.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/command_line.h"
#include "base/error.h"

namespace cfm::parallel {

class FailureLog;  // parallel/failure_log.h
struct MpiHandle;  // parallel/mpi_handle.h: the MPI_Comm, for this folder only

// A communicator of its own: messages on one never meet those on another. Move-only. All calls are collective over its
// ranks and throw Error on an MPI failure. Size 1 is an ordinary case.
class Communicator {
 public:
  explicit Communicator(std::unique_ptr<MpiHandle> handle);
  Communicator(Communicator&&) noexcept;
  Communicator& operator=(Communicator&&) noexcept;
  ~Communicator();  // frees nothing: MPI_Finalize does, and a rank may be unwinding alone

  int rank() const;
  int size() const;
  void barrier() const;
  void broadcast(std::span<std::byte> bytes, int root = 0) const;
  std::string broadcast(const std::string& text, int root = 0) const;  // every rank returns root's
  std::vector<std::string> all_gather(const std::string& text) const;  // by rank
  std::vector<std::string> gather(const std::string& bytes,
                                  int root = 0) const;  // by rank at root, empty elsewhere; > 2 GiB in all is fine
  void sum(std::span<double> values) const;  // in place, in rank order: the same bits on every rank and every time
  void max(std::span<double> values) const;
  bool any(bool mine) const;
  MpiHandle& handle() const { return *handle_; }

 private:
  std::unique_ptr<MpiHandle> handle_;
};

// MPI_Init_thread(MULTIPLE) to MPI_Finalize. One per process, made first thing in main.
class MpiSession {
 public:
  // Throws Error if MPI grants less than MPI_THREAD_MULTIPLE, or if the scheduler's task count (SLURM_NTASKS with
  // SLURM_PROCID set by srun) or the launcher's (OMPI_COMM_WORLD_SIZE, PMI_SIZE) differs from the MPI world's: N jobs
  // of one rank each, the sign of a missing PMI.
  MpiSession(int* argc, char*** argv);
  ~MpiSession();
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  int local_rank() const { return local_rank_; }  // among this node's ranks (MPI_Comm_split_type SHARED)
  int local_size() const { return local_size_; }
  const std::string& host() const { return host_; }

  const Communicator& control() const { return *control_; }  // set-up, agreement, the step's reduction
  Communicator duplicate() const;                            // collective: a further communicator over all ranks

  // What this rank does, and where the job's failures are written.
  FailureLog& failures() const { return *failures_; }

  // Prints and records "rank r on host h: message" and ends all ranks with `code`. Never returns.
  [[noreturn]] void abort(const std::string& message, ExitCode code) const;

  // The end of the job, on a communicator of its own: every rank hands in its code and, if it met a SharedError, that;
  // the lowest rank that has one prints and records it; all return the largest code (of those with an error, if there
  // are any). A rank with an error that the others do not join within five seconds was wrong to call it shared, and
  // aborts.
  ExitCode leave(ExitCode mine, const std::string& shared_error) const;

 private:
  int rank_ = 0, size_ = 1, local_rank_ = 0, local_size_ = 1;
  std::string host_;
  std::unique_ptr<FailureLog> failures_;
  std::unique_ptr<Communicator> control_, exit_;
};

// This process's rank as its launcher's environment gives it, 0 without one: for messages when MPI itself is broken.
int launched_rank();

// Who started this process, and of how many it says that it is one: "OMPI_COMM_WORLD_SIZE=4"; empty: nobody says so.
std::string launcher_text();

// Throws SharedError on every rank if any rank hands in a problem: it lists rank, host and problem once each (equal
// problems of several ranks as one line). The exit code is the largest handed in. Collective.
struct RankProblem {
  std::string what;
  ExitCode exit_code = ExitCode::kWontWork;
};
void agree(const MpiSession& session, const std::optional<RankProblem>& mine);

// Runs `work` and turns an Error into a problem: all ranks return, or all throw SharedError. Collective.
void agree_on(const MpiSession& session, const std::function<void()>& work);
// The same over another communicator of all ranks: for a thread beside the one that uses control().
void agree_on(const MpiSession& session, const Communicator& over, const std::function<void()>& work);

// The main of every MPI program: makes the session, runs `body`, returns its exit code. A SharedError is printed once
// and ends the job with its code, which rank 0 returns, last, and the others 0; any other exception is printed with
// rank and host and ends all ranks by MPI_Abort with its code (kRetry for what is not an Error).
int run_mpi_main(int argc, char** argv, const std::function<ExitCode(MpiSession&)>& body);

// The same for a program with flags: they are read first (base/command_line.h), --help is answered by rank 0, and a
// refusal of `body` names the places in flagfiles where its flags stand.
int run_program(int argc, char** argv, const ProgramHelp& program, const std::function<ExitCode(MpiSession&)>& body);

}  // namespace cfm::parallel
