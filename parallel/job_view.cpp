#include "parallel/job_view.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <tuple>

#include "parallel/mpi_handle.h"

namespace cfm::parallel {
namespace {

constexpr size_t kListedRanks = 64;

std::string format_seconds(double seconds) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.1f", seconds);
  return text.data();
}

}  // namespace

std::vector<int> monitors_of(const std::vector<std::string>& hosts) {
  if (hosts.size() == 1) return {0};
  for (size_t r = 1; r < hosts.size(); ++r)
    if (hosts[r] != hosts[0]) return {0, static_cast<int>(r)};
  return {0, 1};
}

bool JobView::is_monitor() const { return std::ranges::find(monitors, rank) != monitors.end(); }

double JobView::tick() const { return std::min(config.heartbeat.count() / 4, 0.25); }

// Later monitors leave the report to earlier ones, the other ranks to all of them.
double JobView::grace() const {
  const auto place = std::ranges::find(monitors, rank) - monitors.begin();
  return static_cast<double>(place) * (2 * config.heartbeat.count() + 1);
}

// Since its last progress, and since it was last heard of.
double JobView::idle(size_t r) const { return heard[r].beat.idle_seconds + (now - heard[r].at); }
double JobView::silence(size_t r) const { return r == static_cast<size_t>(rank) ? 0 : now - heard[r].at; }

std::string JobView::describe(size_t r) const {
  return rank_name(static_cast<int>(r), hosts[r]) + " (" + heard[r].beat.phase.data() + ", step " +
         std::to_string(heard[r].beat.step) + ")";
}

std::optional<Problem> JobView::problem() const {
  std::vector<size_t> present;
  for (size_t r = 0; r < heard.size(); ++r) {
    if (heard[r].beat.goodbye == 0) present.push_back(r);
  }
  // By what a rank said itself: it may have gone on since. One that says nothing more is silent.
  const auto overdue = [&](size_t r) {
    const Beat& beat = heard[r].beat;
    return (beat.goodbye != 0 ? idle(r) : beat.idle_seconds) > beat.limit + grace();
  };
  size_t stuck = 0;  // ranks of which nothing will come: they wait or have finished, and that long ago
  for (size_t r = 0; r < heard.size(); ++r) {
    stuck += (heard[r].beat.waits != 0 || heard[r].beat.goodbye != 0) && overdue(r) ? 1 : 0;
  }
  const bool all_wait = is_monitor() && stuck == heard.size();
  const auto minded = [&](size_t r) { return all_wait || heard[r].beat.waits == 0; };
  const bool ends = std::any_of(present.begin(), present.end(), [&](size_t r) {
    return silence(r) > config.silence_timeout.count() + grace() || (minded(r) && overdue(r));
  });
  if (!ends) return std::nullopt;
  const auto by_silence = [&](size_t a, size_t b) { return silence(a) < silence(b); };
  const size_t quietest = *std::max_element(present.begin(), present.end(), by_silence);
  if (silence(quietest) > 3 * config.heartbeat.count() + 2 * tick()) {
    return Problem{"silent",
                   describe(quietest) + " has not been heard of for " + format_seconds(silence(quietest)) +
                       " s: its process or its node is gone, stopped or cut off",
                   quietest};
  }
  const auto by_progress = [&](size_t a, size_t b) {
    return std::tuple(!minded(a), heard[a].beat.step, heard[a].beat.progress_time) <
           std::tuple(!minded(b), heard[b].beat.step, heard[b].beat.progress_time);
  };
  const size_t last = *std::min_element(present.begin(), present.end(), by_progress);
  return Problem{"no progress",
                 describe(last) + " has made no progress for " + format_seconds(idle(last)) + " s (limit " +
                     format_seconds(heard[last].beat.limit) + " s)",
                 last};
}

RankSeen JobView::seen(size_t r) const {
  const bool known = is_monitor() || r == static_cast<size_t>(rank);
  return {.rank = static_cast<int>(r),
          .host = hosts[r],
          .phase = known ? heard[r].beat.phase.data() : "",
          .step = heard[r].beat.step,
          .idle_seconds = idle(r),
          .finished = known && heard[r].beat.goodbye != 0};
}

std::vector<RankSeen> JobView::all_seen() const {
  std::vector<RankSeen> all;
  for (size_t r = 0; is_monitor() && r < heard.size(); ++r) all.push_back(seen(r));
  return all;
}

std::string JobView::report(const std::string& problem) const {
  std::string text =
      "cfm: watchdog on " + rank_name(rank, hosts[static_cast<size_t>(rank)]) + ": " + problem + ". Ending the job.";
  if (!is_monitor()) return text;
  std::vector<size_t> ranks(heard.size());
  for (size_t r = 0; r < ranks.size(); ++r) ranks[r] = r;
  if (ranks.size() > kListedRanks) {
    std::stable_sort(ranks.begin(), ranks.end(), [&](size_t a, size_t b) { return idle(a) > idle(b); });
  }
  for (size_t i = 0; i < std::min(ranks.size(), kListedRanks); ++i) {
    const size_t r = ranks[i];
    text += "\n  " + describe(r) + ", " + format_seconds(idle(r)) + " s ago" +
            (heard[r].beat.goodbye != 0 ? ", has finished" : "");
  }
  if (ranks.size() > kListedRanks) {
    text += "\n  and " + std::to_string(ranks.size() - kListedRanks) + " ranks whose last progress is more recent";
  }
  return text;
}

}  // namespace cfm::parallel
