#pragma once
// Who makes a result. A job that does holds a lease on RUN/results/<name>.claim for as long, so that several jobs share
// a run's checkpoints without doing one twice, and what a killed one has begun is taken over.

#include <chrono>
#include <functional>
#include <memory>

#include "base/error.h"
#include "base/lease.h"
#include "base/stop_signal.h"
#include "evaluator/result_file.h"
#include "parallel/mpi_session.h"

namespace cfm::evaluator {

// What became of a result that a job set out to make: it is there, a signal came first, or another job is at it.
enum class Outcome { kDone, kStopped, kElsewhere };

// A result before the work: ours to make, there already, or another job's.
enum class ResultState { kOurs, kDone, kElsewhere };

struct ClaimedResult {
  ResultState state = ResultState::kElsewhere;  // the same on all ranks
  std::unique_ptr<Lease> claim;                 // rank 0's, if it is ours
};

// Looks whether a result of these settings is there, and claims it if not; parts() is made then. Collective.
using ClaimResult = std::function<ClaimedResult(const ResultFile& file, const Json& settings)>;

// The same on rank 0 alone, for a claim that `seeker` has looked at before. Never waits. Errors of is_done_or_begin.
ClaimedResult try_to_claim(const ResultFile& file, const Json& settings, LeaseSeeker& seeker);

// Does `work` on rank 0 and tells its state to all. Collective.
ClaimedResult claimed_on_rank_0(const parallel::MpiSession& session, const std::function<ClaimedResult()>& work);

// For a job that is to make this result and no other: an Error that names the job which is at it. One that shows no
// life is waited for, for `lease_seconds`, and then taken over.
ClaimResult claim_or_refuse(double lease_seconds, const parallel::MpiSession& session, const StopSignal& stop);

// The result is there for all to see, with its table if it has one, and what it was made of goes. On rank 0.
// Error(kRetry) if the claim is another job's now: nothing is written.
void commit(const ResultFile& file, const Json& result, const std::string& table, const Lease& claim);

}  // namespace cfm::evaluator
