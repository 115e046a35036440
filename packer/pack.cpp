#include "packer/pack.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/grouped_number.h"
#include "base/log.h"
#include "data/dataset.h"
#include "packer/finished_shard.h"
#include "packer/image_fit.h"
#include "packer/image_source.h"
#include "packer/packing.h"
#include "packer/partial_folder.h"
#include "packer/shard_packer.h"
#include "packer/shared_progress.h"
#include "parallel/cores.h"

namespace cfm::packer {
namespace {

using nlohmann::json;
using parallel::agree_on;
using parallel::MpiSession;
using std::filesystem::path;

// What there is of each shard: the names of the images that are missing from it, or would be. No entry: nothing.
using Shards = std::map<int64_t, std::vector<std::string>>;

// Those of all ranks, on all. Collective.
Shards together(const Shards& mine, const MpiSession& session) {
  const std::string text = json(mine).dump(-1, ' ', false, json::error_handler_t::replace);
  Shards all;
  for (const std::string& shards : session.control().all_gather(text)) all.merge(json::parse(shards).get<Shards>());
  return all;
}

// This rank's part of `numbers`, dealt in turn.
std::vector<int64_t> dealt(const std::vector<int64_t>& numbers, const MpiSession& session) {
  std::vector<int64_t> mine;
  for (auto i = static_cast<size_t>(session.rank()); i < numbers.size(); i += static_cast<size_t>(session.size()))
    mine.push_back(numbers[i]);
  return mine;
}

std::vector<int64_t> all_shards(const Packing& packing) {
  std::vector<int64_t> numbers;
  for (int64_t shard = 0; shard < packing.shards; ++shard) numbers.push_back(shard);
  return numbers;
}

// Shards that an earlier start finished. Without leave to leave images out, one that has lost some is not finished:
// they may have been repaired.
Shards find_shards(const path& place, const Packing& packing, bool allow_unreadable, data::Hdf5Process* hdf5,
                   const MpiSession& session) {
  Shards finished;
  for (const int64_t shard : dealt(all_shards(packing), session))
    if (const auto left_out = find_finished(place / packing.shard_name(shard), packing, shard, hdf5))
      if (left_out->empty() || allow_unreadable) finished.emplace(shard, *left_out);
  return together(finished, session);
}

void check_same_everywhere(const Packing& packing, const MpiSession& session) {
  const std::string difference = packing.difference_from(session.control().broadcast(packing.json()));
  agree_on(session, [&] {
    check(difference.empty(), "this rank sees other images than rank 0: " + difference +
                                  " (there: on rank 0). Give a --source that is the same for all ranks.");
  });
}

std::string count_text(int64_t count, const std::string& noun) {
  return grouped(count) + " " + noun + (count == 1 ? "" : "s");
}

void say_plan(const Packing& packing, int64_t finished, const path& place, const MpiSession& session) {
  if (finished > 0)
    say("kept         " + grouped(finished) + " of " + count_text(packing.shards, "shard") + ", finished earlier in " +
        place.string());
  const int64_t missing = packing.shards - finished;
  if (missing < session.size() && missing > 0)
    warn(std::to_string(session.size() - missing) + " of " + std::to_string(session.size()) +
         " ranks have nothing to do: a rank packs whole shards, and " + std::to_string(missing) + " are to be packed");
}

Shards pack_shards(const std::vector<int64_t>& missing, const path& place, const Packing& packing,
                   const ImageSource& source, const ImageFit& fit, const PackConfig& config,
                   const MpiSession& session) {
  const int64_t threads = config.threads > 0 ? config.threads : parallel::share_of_cores(session);
  int64_t images = 0;
  for (const int64_t shard : missing) images += packing.places_of(shard).last - packing.places_of(shard).first;
  SharedProgress progress(session, images);
  ShardPacker packer(packing, source, fit, threads, [&progress](int64_t count) { progress.add(count); });
  Shards packed;
  std::optional<parallel::RankProblem> problem;
  try {
    for (const int64_t shard : dealt(missing, session))
      packed.emplace(shard, packer.pack(place, shard, config.allow_unreadable));
  } catch (const AnotherRankFailed&) {
  } catch (const Error& error) {
    problem = {error.what(), error.exit_code()};
  }
  progress.finish(problem.has_value());
  agree(session, problem);
  return together(packed, session);
}

std::vector<std::string> unreadable_in(const Shards& shards) {
  std::vector<std::string> names;
  for (const auto& [shard, left_out] : shards) names.insert(names.end(), left_out.begin(), left_out.end());
  return names;
}

void refuse_unreadable(const Shards& shards, const Packing& packing, const path& place) {
  const std::vector<std::string> names = unreadable_in(shards);
  if (names.empty()) return;
  std::string text = count_text(static_cast<int64_t>(names.size()), "image") + " cannot be read:";
  for (const std::string& name : names) text += "\n  " + name;
  const auto whole = std::ranges::count_if(shards, [](const auto& shard) { return shard.second.empty(); });
  throw SharedError(text + "\nThe other " + grouped(whole) + " of " + count_text(packing.shards, "shard") +
                    " are finished in " + place.string() +
                    ". Repair these images and start again, or give --allow_unreadable too: the same command with it "
                    "leaves them out and packs what is missing.");
}

// Reads all pixels back, shared among the ranks. A damaged shard is removed, so that the next start packs it again.
void verify_shards(const path& place, const Packing& packing, const MpiSession& session) {
  agree_on(session, [&] {
    for (const int64_t number : dealt(all_shards(packing), session)) {
      const path file = place / packing.shard_name(number);
      try {
        data::Shard(file).verify();
      } catch (const Error& error) {
        if (error.exit_code() != ExitCode::kWontWork) throw;  // a fault of the disk, not of the bytes
        std::filesystem::remove(file);
        throw Error(std::string(error.what()) + " It was removed: the same command packs it again.", ExitCode::kRetry);
      }
    }
  });
}

// The folder that --overwrite replaces must not be what is read.
void refuse_own_source(const PackConfig& config, const path& folder, const MpiSession& session) {
  agree_on(session, [&] {
    std::error_code unknown;
    const std::string source = std::filesystem::weakly_canonical(config.source, unknown).string() + "/";
    for (const char* end : {"", ".partial", ".old"}) {
      const path written = std::filesystem::weakly_canonical(folder.string() + end, unknown);
      check(!source.starts_with(written.string() + "/"),
            "--source=" + config.source + " lies in " + written.string() +
                ", which this packing would replace. Give another --out or --split.");
    }
  });
}

PackReport report_of(const path& folder) {
  data::DatasetOptions reading;
  reading.metadata_only = true;
  const data::Dataset dataset = data::Dataset::open(folder, reading);
  PackReport report;
  report.folder = folder;
  report.images = dataset.size();
  report.shards = static_cast<int64_t>(dataset.shards().size());
  report.classes = dataset.num_classes();
  report.image_shape = dataset.image_shape();
  report.fingerprint = dataset.fingerprint();
  for (const data::Shard& shard : dataset.shards())
    report.bytes += static_cast<int64_t>(std::filesystem::file_size(shard.path()));
  return report;
}

}  // namespace

Problems PackConfig::validate() const {
  Problems problems;
  const auto require = [&problems](bool ok, const std::string& problem) {
    if (!ok) problems.push_back(problem);
  };
  require(!source.empty(), "--source is missing: a folder of images, FILE.tar, FILE.npz, or FILE.npy[,LABELS.npy].");
  require(!out.empty(), "--out is missing: the folder in which the split's folder is made.");
  require(!split.empty() &&
              std::ranges::all_of(split, [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '-'; }),
          "--split=" + split + ": expected a name of letters, digits, _ and -.");
  require(shards >= 1 && shards <= 99999, "--shards=" + std::to_string(shards) + ": expected 1 to 99999.");
  require(size >= 0 && size <= 16384, "--size=" + std::to_string(size) + ": expected 0 (as the first image) to 16384.");
  require(resize == Resize::kNone || size > 0,
          "--resize=" + resize_word(resize) + " needs --size, the height and width to resize to.");
  require(channels == 0 || channels == 1 || channels == 3,
          "--channels=" + std::to_string(channels) + ": expected auto, 1 or 3.");
  require(first >= 0, "--first=" + std::to_string(first) + ": expected 0 or more.");
  require(count >= 0, "--count=" + std::to_string(count) + ": expected 0 (all) or more.");
  require(grey_levels == 0 || (grey_levels >= 2 && grey_levels <= 256),
          "--grey_levels=" + std::to_string(grey_levels) + ": expected 0 (pixels are bytes) or 2 to 256.");
  require(threads >= 0, "--threads=" + std::to_string(threads) + ": expected 0 (a share of the cores) or more.");
  return problems;
}

int64_t PackConfig::images_of(int64_t source_images) const {
  check(first < source_images && count <= source_images - first,
        "--first=" + std::to_string(first) + " --count=" + std::to_string(count) + ": the source has " +
            std::to_string(source_images) + " images.");
  return count > 0 ? count : source_images - first;
}

PackReport pack(const PackConfig& config, const MpiSession& session, data::Hdf5Process* hdf5) {
  check_no_problems(config.validate());
  const bool leads = session.rank() == 0;
  const path folder = config.out / config.split;
  agree_on(session, [&] {
    check(config.overwrite || !std::filesystem::exists(folder),
          folder.string() + " exists. Give another --out or --split, or --overwrite to replace it.");
  });

  refuse_own_source(config, folder, session);
  ImageSource source;
  std::optional<ImageFit> fit;
  Packing packing;
  agree_on(session, [&] {
    source =
        open_source(config.source, {.split = config.split, .spool_folder = config.out, .verify = leads, .hdf5 = hdf5});
    fit.emplace(config, source);
    packing = packing_of(config, source, fit->shape(), fit->resize());
  });
  check_same_everywhere(packing, session);
  if (leads)
    for (const std::string& note : source.notes) warn(note);

  PartialFolder partial(folder, packing, config.overwrite, session);
  Shards shards = find_shards(partial.place(), packing, config.allow_unreadable, hdf5, session);
  if (leads) say_plan(packing, static_cast<int64_t>(shards.size()), partial.place(), session);
  std::vector<int64_t> missing = all_shards(packing);
  std::erase_if(missing, [&shards](int64_t shard) { return shards.contains(shard); });
  shards.merge(pack_shards(missing, partial.place(), packing, source, *fit, config, session));
  if (!config.allow_unreadable) refuse_unreadable(shards, packing, partial.place());

  verify_shards(partial.place(), packing, session);
  PackReport report;
  agree_on(session, [&] {
    if (leads) report = report_of(partial.place());
    if (leads) partial.commit();
  });
  report.folder = folder;
  report.unreadable = unreadable_in(shards);
  return report;
}

}  // namespace cfm::packer
