#include "evaluator/claim.h"

#include <utility>

#include "base/durable_file.h"
#include "base/log.h"
#include "base/number_text.h"

namespace cfm::evaluator {
namespace {

namespace fs = std::filesystem;

// Asked under the claim: whoever held it before may have finished, or have ended between the result and the parts.
ClaimedResult made_ours_or_done(const ResultFile& file, const Json& settings, std::unique_ptr<Lease> claim) {
  if (!is_done_or_begin(file, settings)) return {ResultState::kOurs, std::move(claim)};
  fs::remove_all(file.parts());
  return {ResultState::kDone, nullptr};
}

// Nothing is left to do, not even to clear away.
bool is_settled(const ResultFile& file, const Json& settings) {
  return is_done(file, settings) && !fs::exists(file.parts());
}

ClaimedResult claimed_or_refused(const ResultFile& file, const Json& settings, double lease_seconds,
                                 const StopSignal& stop) {
  if (is_settled(file, settings)) return {ResultState::kDone, nullptr};
  LeaseSeeker seeker(file.claim(), lease_times(lease_seconds));
  std::unique_ptr<Lease> claim = seeker.take_or_see_alive(
      [&] { return stop.raised() != 0; },
      [&](const LeaseHolder& holder) {
        say("waiting      " + file.name() + " was begun by " + holder.text() +
            ": it is taken over if that shows no life for " + number_text(lease_seconds) + " s");
      });
  if (claim) return made_ours_or_done(file, settings, std::move(claim));
  if (is_done(file, settings)) return {ResultState::kDone, nullptr};
  if (stop.raised() != 0) throw Error("stopped by a signal before the work began", ExitCode::kRequeue);
  throw Error(file.json().string() + " is being made by " + seeker.holder().text() +
              ", which is at work. Wait for its end or stop it (what it has is kept), or give another --tag.");
}

}  // namespace

ClaimedResult try_to_claim(const ResultFile& file, const Json& settings, LeaseSeeker& seeker) {
  if (is_settled(file, settings)) return {ResultState::kDone, nullptr};
  std::unique_ptr<Lease> claim = seeker.try_take();
  if (!claim) return {ResultState::kElsewhere, nullptr};
  return made_ours_or_done(file, settings, std::move(claim));
}

ClaimedResult claimed_on_rank_0(const parallel::MpiSession& session, const std::function<ClaimedResult()>& work) {
  ClaimedResult result;
  parallel::agree_on(session, [&] {
    if (session.rank() == 0) result = work();
  });
  result.state =
      static_cast<ResultState>(std::stoi(session.control().broadcast(std::to_string(static_cast<int>(result.state)))));
  return result;
}

ClaimResult claim_or_refuse(double lease_seconds, const parallel::MpiSession& session, const StopSignal& stop) {
  return [lease_seconds, &session, &stop](const ResultFile& file, const Json& settings) {
    return claimed_on_rank_0(session, [&] { return claimed_or_refused(file, settings, lease_seconds, stop); });
  };
}

void commit(const ResultFile& file, const Json& result, const std::string& table, const Lease& claim) {
  if (!claim.held())
    throw Error(file.json().string() + " is not written: another job has taken its making over", ExitCode::kRetry);
  if (!table.empty()) write_durably(file.csv(), table);
  write_durably(file.json(), result.dump(1) + "\n");
  fs::remove_all(file.parts());
}

}  // namespace cfm::evaluator
