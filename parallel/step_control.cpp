#include "parallel/step_control.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <span>
#include <string>
#include <utility>

#include "parallel/mpi_handle.h"

namespace cfm::parallel {

// Every rank gets every report and adds them up itself, in rank order: MPI_Iallreduce promises no order, so not the
// same bits.
struct StepControl::Impl {
  Communicator communicator;
  int size;
  size_t sums = 0, maxima = 0;
  bool lengths_agreed = false;
  struct Exchange {
    MPI_Request request = MPI_REQUEST_NULL;
    std::vector<double> mine, all;  // [stop, sums..., maxima...], and that of each rank
  };
  std::unique_ptr<Exchange> exchange;

  explicit Impl(Communicator c) : communicator(std::move(c)), size(communicator.size()) {}
  void agree_on_lengths(const StepReport& report);
};

// Collective, in the first step only.
void StepControl::Impl::agree_on_lengths(const StepReport& report) {
  sums = report.sums.size();
  maxima = report.maxima.size();
  const std::string mine = std::to_string(sums) + " sums and " + std::to_string(maxima) + " maxima";
  const std::vector<std::string> all = communicator.all_gather(mine);
  for (size_t r = 0; r < all.size(); ++r) {
    if (all[r] == all[0]) continue;
    throw SharedError("step control: rank " + std::to_string(r) + " reports " + all[r] + ", rank 0 " + all[0]);
  }
  lengths_agreed = true;
}

StepControl::StepControl(const MpiSession& session) : impl_(std::make_unique<Impl>(session.duplicate())) {}

StepControl::~StepControl() {
  // MPI may still write to the buffers of an exchange under way, and a rank that unwinds alone cannot complete it.
  if (pending()) static_cast<void>(impl_->exchange.release());
}

void StepControl::post(const StepReport& report) {
  assert(!pending());
  if (!impl_->lengths_agreed) impl_->agree_on_lengths(report);
  check(report.sums.size() == impl_->sums && report.maxima.size() == impl_->maxima,
        "step control: a report of another length than the first one");
  auto exchange = std::make_unique<Impl::Exchange>();
  exchange->mine.push_back(report.stop_requested ? 1.0 : 0.0);
  exchange->mine.insert(exchange->mine.end(), report.sums.begin(), report.sums.end());
  exchange->mine.insert(exchange->mine.end(), report.maxima.begin(), report.maxima.end());
  const int count = static_cast<int>(exchange->mine.size());
  exchange->all.resize(exchange->mine.size() * static_cast<size_t>(impl_->size));
  mpi_check(MPI_Iallgather(exchange->mine.data(), count, MPI_DOUBLE, exchange->all.data(), count, MPI_DOUBLE,
                           impl_->communicator.handle().comm, &exchange->request),
            "MPI_Iallgather");
  impl_->exchange = std::move(exchange);
}

StepSummary StepControl::collect() {
  assert(pending());
  wait_patiently(impl_->exchange->request);
  const std::unique_ptr<Impl::Exchange> exchange = std::move(impl_->exchange);
  StepSummary summary;
  summary.sums.assign(impl_->sums, 0.0);
  const size_t count = exchange->mine.size();
  for (size_t r = 0; r < static_cast<size_t>(impl_->size); ++r) {
    const std::span<const double> report(exchange->all.data() + r * count, count);
    const auto sums = report.subspan(1, impl_->sums), maxima = report.subspan(1 + impl_->sums);
    summary.stop_requested = summary.stop_requested || report[0] != 0;
    for (size_t i = 0; i < sums.size(); ++i) summary.sums[i] += sums[i];
    if (r == 0) summary.maxima.assign(maxima.begin(), maxima.end());
    for (size_t i = 0; i < maxima.size(); ++i) {
      if (maxima[i] > summary.maxima[i] || std::isnan(maxima[i])) summary.maxima[i] = maxima[i];
    }
  }
  return summary;
}

bool StepControl::pending() const { return impl_->exchange != nullptr; }

bool StepControl::ready() const {
  assert(pending());
  int done = 0;
  mpi_check(MPI_Test(&impl_->exchange->request, &done, MPI_STATUS_IGNORE), "MPI_Test");
  return done != 0;
}

}  // namespace cfm::parallel
