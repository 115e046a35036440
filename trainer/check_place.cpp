#include "trainer/check_place.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <numeric>

#include "base/durable_file.h"
#include "base/environment.h"
#include "base/lease.h"
#include "base/number_text.h"
#include "checkpoint/store.h"
#include "parallel/cores.h"
#include "trainer/prepare.h"

namespace cfm::trainer {
namespace {

namespace fs = std::filesystem;

// "0-3", "0,2,5-6"
std::string numbers_text(const std::vector<int>& numbers) {
  std::string text;
  for (size_t i = 0; i < numbers.size(); ++i) {
    size_t last = i;
    while (last + 1 < numbers.size() && numbers[last + 1] == numbers[last] + 1) ++last;
    text += (text.empty() ? "" : ",") + std::to_string(numbers[i]);
    if (last > i) text += (last == i + 1 ? "," : "-") + std::to_string(numbers[last]);
    i = last;
  }
  return text;
}

// The folder itself, or the nearest one above it that is there.
fs::path nearest_folder(const fs::path& folder) {
  std::error_code error;
  fs::path place = fs::absolute(folder).lexically_normal();
  while (!fs::exists(place, error) && place.has_relative_path()) place = place.parent_path();
  return place;
}

int64_t bytes_of_checkpoints(const fs::path& run_dir) {
  int64_t bytes = 0;
  std::error_code error;
  for (fs::recursive_directory_iterator entry(checkpoint::checkpoints_folder(run_dir), error), end;
       !error && entry != end; entry.increment(error)) {
    std::error_code none;
    if (entry->is_regular_file(none)) bytes += static_cast<int64_t>(entry->file_size(none));
  }
  return bytes;
}

}  // namespace

void check_ranks_and_devices(CheckTable& table, const TrainConfig& config, const parallel::MpiSession& session,
                             c10::Device device, int threads) {
  const int cores = parallel::share_of_cores(session);
  const std::string mine = session.host() + "\n" + std::to_string(threads) + " threads on " + std::to_string(cores) +
                           (cores == 1 ? " core" : " cores") + " each" + (threads > cores ? " (too few)" : "");
  const std::vector<std::string> all = session.control().all_gather(mine),
                                 devices = session.control().all_gather(device.str());
  std::map<std::string, std::vector<int>> ranks_by_kind;
  for (size_t r = 0; r < all.size(); ++r) ranks_by_kind[all[r]].push_back(static_cast<int>(r));

  const std::string launcher = parallel::launcher_text();
  table.ok("launch", std::to_string(session.size()) + (session.size() == 1 ? " rank" : " ranks") +
                         (launcher.empty() ? ", started alone" : ", as " + launcher + " says"));
  const std::string tasks = from_environment("SLURM_NTASKS");
  if (!tasks.empty() && tasks != std::to_string(session.size()))
    table.warn("launch", "Slurm granted " + tasks + " tasks (SLURM_NTASKS), MPI has " + std::to_string(session.size()) +
                             " ranks: part of the allocation is idle, unless that is meant");
  for (const auto& [kind, ranks] : ranks_by_kind) {
    const size_t end = kind.find('\n');
    std::string on;
    for (const int rank : ranks) {
      const std::string& name = devices[static_cast<size_t>(rank)];
      if (name != devices[static_cast<size_t>(ranks.front())] || rank == ranks.front())
        on += (on.empty() ? "" : ", ") + name;
    }
    table.ok_if(!kind.ends_with(" (too few)"), "ranks",
                numbers_text(ranks) + " on host " + kind.substr(0, end) + ": " + on + ", " + kind.substr(end + 1));
  }
  table.attempt("ranks", [&] { check_ranks(config, session); });
}

void check_folder(CheckTable& table, const TrainConfig& config, const parallel::MpiSession& session) {
  std::string text;
  const bool good = table.attempt("run_dir", [&] {
    if (session.rank() != 0) return;
    refuse_wrong_folder(config);
    const fs::path place = nearest_folder(config.run_dir);
    check(fs::is_directory(place), "--run_dir=" + config.run_dir + ": " + place.string() + " is not a folder");
    const fs::path probe = place / (".cfm_check-" + std::to_string(::getpid()));
    write_durably(probe, "");
    fs::remove(probe);
    text = config.run_dir + (fs::exists(config.run_dir) ? " can be written" : " can be made in " + place.string());
  });
  if (good) table.ok("run_dir", text);
}

void check_owner(CheckTable& table, const TrainConfig& config, const parallel::MpiSession& session,
                 const StopSignal& stop) {
  const std::string longest = number_text(config.lease_seconds) + " s";
  std::string holder;
  bool lives = false;
  if (session.rank() == 0) {
    LeaseSeeker seeker(fs::path(config.run_dir) / "trainer.lease", lease_times(config.lease_seconds));
    const auto waits = [&](const LeaseHolder& found) {
      holder = found.text();
      table.ok("owner", "the run is held by " + holder + ": looking for a sign of life, for " + longest + " at most");
    };
    lives = seeker.see_alive([&] { return stop.raised() != 0; }, waits);
  }
  holder = session.control().broadcast(holder);
  if (session.control().any(lives)) {
    table.fail("owner", "the run is trained by " + holder +
                            ", which is at work: a start now is refused. Wait for its end or stop it, or give another "
                            "--run_dir.");
  } else if (holder.empty()) {
    table.ok("owner", "nobody holds the run");
  } else if (stop.raised() == 0) {
    table.ok("owner", holder + " has shown no life for " + longest + ", or given the run back: a start takes over");
  }
}

// In doubles, which any flags fit into.
double checkpoints_at_once(const TrainConfig& config, int64_t step) {
  const auto multiples = [&](double every) {
    return every > 0
               ? std::floor(static_cast<double>(config.steps) / every) - std::floor(static_cast<double>(step) / every)
               : 0;
  };
  const auto between = static_cast<double>(config.checkpoint_every), kept = static_cast<double>(config.keep_every);
  const double made = multiples(between) + 1;  // and the last one
  if (config.keep_last == 0) return made;
  const int64_t common = std::gcd(config.keep_every, config.checkpoint_every);
  const double for_ever = common > 0 ? multiples(kept / static_cast<double>(common) * between) : 0;
  // One is there before an older one goes.
  return std::min(made,
                  for_ever + static_cast<double>(config.keep_last) + static_cast<double>(config.keep_unevaluated) + 1);
}

void check_room(CheckTable& table, const TrainConfig& config, const parallel::MpiSession& session, int64_t step,
                int64_t bytes) {
  const double count = checkpoints_at_once(config, step), needed = count * static_cast<double>(bytes);
  std::string text;
  bool enough = false;
  const bool good = table.attempt("room", [&] {
    if (session.rank() != 0) return;
    const fs::path place = nearest_folder(config.run_dir);
    const auto room = static_cast<int64_t>(fs::space(place).available);
    text = "a checkpoint is " + gigabytes_text(static_cast<double>(bytes)) + ", the run has up to " +
           number_text(count) + " at once: " + gigabytes_text(needed) + "; " +
           gigabytes_text(static_cast<double>(room)) + " are free in " + place.string();
    check(room >= bytes, text + ". Free some, or give another --run_dir.");
    enough = static_cast<double>(room + bytes_of_checkpoints(config.run_dir)) >= needed;
    if (!enough)
      text += ", and it will not do. Free some, or lower --keep_last or --keep_unevaluated, or raise --keep_every.";
  });
  if (good) table.ok_if(session.control().any(enough), "room", text);
}

}  // namespace cfm::trainer
