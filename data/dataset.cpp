#include "data/dataset.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "base/number_text.h"
#include "base/open_files.h"
#include "data/file_names.h"

namespace cfm::data {
namespace {

using std::filesystem::path;

std::vector<path> shard_files(const path& place) {
  std::error_code error;
  const auto status = std::filesystem::status(place, error);
  check(std::filesystem::exists(status), "no such file or folder: " + place.string() +
                                             ". Give a folder of HDF5 shards, as cfm_pack writes it, or one shard.");
  if (!std::filesystem::is_directory(status)) return {place};
  std::vector<path> files;
  for (const auto& entry : std::filesystem::directory_iterator(place))
    if (is_hdf5_name(entry.path())) files.push_back(entry.path());
  check(!files.empty(),
        "folder " + place.string() + " holds no shards (*.h5, *.hdf5). " +
            (std::filesystem::is_directory(place / "train") ? "Name a split's folder: " + (place / "train").string()
                                                            : std::string("Write them with cfm_pack.")));
  std::ranges::sort(files);
  for (const path& file : files)
    check(split_of(file) == split_of(files.front()),
          "folder " + place.string() + " holds files of several splits: " + files.front().filename().string() +
              " and " + file.filename().string() + ". Give one of them, or a folder for each split.");
  return files;
}

void check_alike(const Shard& first, const Shard& other) {
  check(first.image_shape() == other.image_shape(),
        "the images of " + first.path().string() + " are " + shape_text(first.image_shape()) + ", those of " +
            other.path().string() + " are " + shape_text(other.image_shape()) + "; expected one shape in a data set.");
  for (const char* name : {"split", "seed", "shards", "source", "resize", "label_map", "grey_levels"})
    check(first.attribute(name) == other.attribute(name),
          std::string(name) + " is '" + first.attribute(name) + "' in " + first.path().string() + " and '" +
              other.attribute(name) + "' in " + other.path().string() +
              ": they belong to different packings. Keep each in a folder of its own.");
}

// cfm_pack writes into each shard how many there are.
void check_complete(const std::vector<Shard>& shards, const path& folder) {
  const std::string expected = shards.front().attribute("shards");
  check(expected.empty() || expected == std::to_string(shards.size()),
        "folder " + folder.string() + " holds " + std::to_string(shards.size()) + " of " + expected +
            " shards. Copy the missing ones, or pack again.");
  if (expected.empty()) return;
  std::map<std::string, path> numbers;
  for (const Shard& shard : shards) {
    const auto [other, is_new] = numbers.emplace(shard.attribute("shard"), shard.path());
    check(is_new, "shard " + other->first + " is there twice: " + other->second.string() + " and " +
                      shard.path().string() + ". Replace one by the shard that it is named after.");
  }
}

// "contiguous", or what the files differ in: "contiguous; gzip, chunks of (128,3,8,8)".
std::string storage_text(const std::vector<Shard>& shards) {
  std::vector<std::string> seen;
  for (const Shard& shard : shards)
    if (std::ranges::find(seen, shard.plan().storage) == seen.end()) seen.push_back(shard.plan().storage);
  std::string text = seen.front();
  for (size_t i = 1; i < std::min<size_t>(seen.size(), 3); ++i) text += "; " + seen[i];
  return text + (seen.size() > 3 ? "; ..." : "");
}

// Of a file that has none. A shape that the file cannot hold is damage, and is refused for that.
void add_zero_labels(FileFacts& facts) {
  if (!facts.labels_name.empty() || facts.shape.empty() || facts.shape[0] > facts.file_bytes) return;
  facts.labels_shape = {facts.shape[0]};
  facts.labels.assign(facts.shape[0], 0);
}

// Whether all labels together go from 1 to 1000, in files that others wrote.
bool are_from_one(const std::vector<Shard>& shards) {
  int64_t least = 1, most = 0;
  for (const Shard& shard : shards) {
    if (!shard.attribute(kVersionName).empty()) return false;
    const auto [low, high] = std::ranges::minmax(shard.labels());
    least = std::min(least, low);
    most = std::max(most, high);
  }
  return least == 1 && most == 1000;
}

// Before each piece of what may take long.
void mind_stop(const DatasetOptions& options, const path& where) {
  if (options.stopped())
    throw Error("stopped by a signal while " + where.string() + " was read; the same command begins again",
                ExitCode::kRequeue);
}

}  // namespace

Problems DatasetOptions::validate() const {
  Problems problems;
  if (data_mode != "auto" && data_mode != "pread" && data_mode != "ram")
    problems.push_back("--data_mode=" + data_mode + ": there are auto, pread, ram");
  if (!stage_dir.empty() && data_mode == "ram")
    problems.push_back("--stage_dir with --data_mode=ram: images are read once then; leave out one of the two");
  return problems;
}

// Rank 0 asks, the others are told: a parallel file system meets one reader, however many ranks there are.
void Dataset::read_facts(const DatasetOptions& options) {
  std::string told;
  options.ranks.together([&] {
    if (options.ranks.rank != 0) return;
    nlohmann::json all = nlohmann::json::array();
    for (const auto& file : shard_files(path_)) {
      FileFacts found = facts_of(file, options.hdf5);
      if (options.zero_labels) add_zero_labels(found);
      shards_.emplace_back(file, std::move(found));
      check_alike(shards_.front(), shards_.back());
      const std::string facts = to_bytes(shards_.back().facts());
      if (options.ranks.size > 1) all.push_back({file.string(), nlohmann::json::binary({facts.begin(), facts.end()})});
    }
    if (std::filesystem::is_directory(path_)) check_complete(shards_, path_);
    nlohmann::json::to_cbor(all, told);
  });
  told = options.ranks.from_rank0(told);
  options.ranks.together([&] {
    if (options.ranks.rank == 0) return;
    for (const auto& file : nlohmann::json::from_cbor(told)) {
      const auto& facts = file.at(1).get_binary();
      shards_.emplace_back(file.at(0).get<std::string>(), facts_from_bytes({facts.begin(), facts.end()}));
    }
  });
}

// Whether labels can be counted as another set's are, though they do not tell so themselves.
void check_can_count(const std::vector<Shard>& shards, bool from_one, const path& where) {
  const std::string other = "the set that it goes with counts its labels from ";
  check(from_one,
        where.string() + ": labels go from 1 to 1000, and " + other +
            "0: the same number would mean two classes. Pack both with cfm_pack from sources that count alike.");
  for (const Shard& shard : shards)
    for (const int64_t label : shard.labels())
      check(label >= 1 && label <= 1000, shard.path().string() + ": label " + std::to_string(label) + ", and " + other +
                                             "1 to 1000: expected 1 to 1000 here too.");
}

Dataset Dataset::open(const std::filesystem::path& path, const DatasetOptions& options) {
  check_no_problems(options.validate());
  Dataset dataset;
  dataset.path_ = path;
  dataset.read_facts(options);
  dataset.labels_from_one_ = are_from_one(dataset.shards_);
  if (options.labels_from_one && *options.labels_from_one != dataset.labels_from_one_ && !dataset.is_ours()) {
    options.ranks.together([&] { check_can_count(dataset.shards_, *options.labels_from_one, path); });
    dataset.labels_from_one_ = *options.labels_from_one;
  }
  if (dataset.labels_from_one_)
    for (Shard& shard : dataset.shards_) shard.count_labels_from_one();
  for (const Shard& shard : dataset.shards_) {
    dataset.starts_.push_back(dataset.size_);
    dataset.size_ += shard.size();
  }
  dataset.starts_.push_back(dataset.size_);
  if (options.groups < 1 || options.groups > dataset.size_)
    throw SharedError("--data_groups=" + std::to_string(options.groups) + ": expected 1 to " +
                      std::to_string(dataset.size_) + ", the images of " + path.string());
  const Slots groups = part_of(options.groups, options.ranks.node, options.ranks.nodes);
  dataset.readable_ = options.groups == 1 ? Slots{0, dataset.size_}
                                          : Slots{part_of(dataset.size_, groups.first, options.groups).first,
                                                  part_of(dataset.size_, groups.last, options.groups).first};
  dataset.open_files(options);
  return dataset;
}

bool Dataset::is_readable(size_t shard) const {
  return of_shard(shard).first < readable_.last && of_shard(shard).last > readable_.first;
}

void Dataset::open_files(const DatasetOptions& options) {
  allow_open_files(shards_.size());
  // Samples of foreign files make the fingerprint, so rank 0 opens those whatever it reads later.
  std::string fingerprint;
  options.ranks.together([&] {
    if (options.ranks.rank != 0) return;
    for (Shard& shard : shards_)
      if (!shard.is_ours()) shard.open();
    if (options.verify)
      for (const Shard& shard : shards_) learn_images_fingerprint(shard, options.hdf5);
    fingerprint_ = fingerprint_of(shards_);
    fingerprint = fingerprint_.files + fingerprint_.images;
  });
  fingerprint = options.ranks.from_rank0(fingerprint);
  fingerprint_ = {.images = fingerprint.substr(32), .files = fingerprint.substr(0, 32)};
  if (options.metadata_only && !options.verify) return;

  std::vector<Shard*> own;
  for (size_t i = 0; i < shards_.size(); ++i)
    if (is_readable(i)) own.push_back(&shards_[i]);
  if (options.stage_dir.empty()) {
    options.ranks.together([&] {
      for (Shard* shard : own) shard->open();
    });
  } else {
    options.ranks.together([&] {
      for (const Shard* shard : own)
        check(shard->plan().access != Access::kOnePass,
              "--stage_dir: " + shard->path().string() + " (" + shard->plan().storage +
                  ") is read once, from where it is, into memory; a copy would not be read. Leave out --stage_dir.");
    });
    staging_ = std::make_unique<Staging>(options.stage_dir, fingerprint_.files.substr(0, 12), own, options.ranks,
                                         [&] { mind_stop(options, path_); });
  }
  if (options.verify) verify_together(options);
  if (options.metadata_only) return;
  if (choose_memory(options)) fill_memory(options);
}

void Dataset::verify_together(const DatasetOptions& options) {
  const auto mine = static_cast<size_t>(options.ranks.node_rank), step = static_cast<size_t>(options.ranks.node_size);
  options.ranks.together([&] {
    for (size_t i = mine; i < shards_.size(); i += step)
      if (is_readable(i) && shards_[i].is_ours()) {
        mind_stop(options, path_);
        if (shards_[i].plan().access == Access::kOnePass) {
          verify_in_one_pass(shards_[i], options.hdf5);
        } else {
          shards_[i].verify();
        }
      }
  });
}

// Decides by what rank 0 finds, so that all nodes do the same, and says why in access_.
bool Dataset::choose_memory(const DatasetOptions& options) {
  const auto one_pass =
      std::ranges::find_if(shards_, [](const Shard& shard) { return shard.plan().access == Access::kOnePass; });
  const std::string storage = storage_text(shards_);
  const int64_t bytes = readable_.count() * image_shape().bytes();
  std::string choice = options.data_mode;
  options.ranks.together([&] {
    check(
        options.data_mode != "pread" || one_pass == shards_.end(),
        "--data_mode=pread cannot read " +
            (one_pass == shards_.end() ? "" : one_pass->path().string() + " (" + one_pass->plan().storage + ")") +
            ": only whole images in unfiltered chunks or contiguous. Use --data_mode=ram, or pack the file again with "
            "cfm_pack.");
    if (options.data_mode != "auto" || options.ranks.rank != 0) return;
    // Half of what there is: the page cache, the network and other ranks need room too.
    const auto room = static_cast<int64_t>(options.ranks.size > options.ranks.nodes
                                               ? std::min(available_memory() / 2, available_shared_memory())
                                               : available_memory() / 2);
    choice = one_pass != shards_.end() || (bytes <= room && staging_ == nullptr) ? "ram" : "pread";
  });
  choice = options.ranks.from_rank0(choice);
  const std::string share = options.ranks.size > options.ranks.nodes
                                ? ", shared by a node's " + std::to_string(options.ranks.node_size) + " ranks"
                                : "";
  access_ = choice == "ram"
                ? "ram: " + gigabytes_text(static_cast<uint64_t>(bytes)) + share + " (files: " + storage + ")"
                : "pread: " + storage + (staging_ ? ", staged in " + staging_->folder().string() : "");
  return choice == "ram";
}

void Dataset::fill_memory(const DatasetOptions& options) {
  const int64_t image_bytes = image_shape().bytes();
  auto memory = std::make_unique<ImageMemory>(static_cast<uint64_t>(readable_.count() * image_bytes), options.ranks);
  const auto place = [&](int64_t first, int64_t count) {
    return memory->bytes().subspan(static_cast<size_t>((first - readable_.first) * image_bytes),
                                   static_cast<size_t>(count * image_bytes));
  };
  options.ranks.together([&] {
    // What pread serves: each of the node's ranks reads an equal, contiguous part of all images.
    const Slots mine = part_of(readable_.count(), options.ranks.node_rank, options.ranks.node_size);
    const int64_t piece = std::max<int64_t>(1, (int64_t{4} << 20) / image_bytes);
    for (size_t i = 0; i < shards_.size(); ++i) {
      if (shards_[i].plan().access == Access::kOnePass) continue;
      const int64_t end = std::min(of_shard(i).last, readable_.first + mine.last);
      for (int64_t at = std::max(of_shard(i).first, readable_.first + mine.first); at < end; at += piece) {
        const int64_t count = std::min(piece, end - at);
        mind_stop(options, path_);
        shards_[i].read(at - of_shard(i).first, place(at, count));
      }
    }
    // What only libhdf5 can read: whole files, in turn.
    for (size_t i = 0; i < shards_.size(); ++i) {
      if (shards_[i].plan().access != Access::kOnePass || !is_readable(i) ||
          static_cast<int>(i) % options.ranks.node_size != options.ranks.node_rank)
        continue;
      for_all_images(shards_[i], options.hdf5, [&](int64_t first, std::span<const uint8_t> pixels) {
        mind_stop(options, path_);
        const int64_t at = of_shard(i).first + first, count = static_cast<int64_t>(pixels.size()) / image_bytes;
        const int64_t begin = std::max(at, readable_.first), end = std::min(at + count, readable_.last);
        if (begin >= end) return;
        const std::span<uint8_t> to = place(begin, end - begin);
        std::ranges::copy(pixels.subspan(static_cast<size_t>((begin - at) * image_bytes), to.size()), to.begin());
      });
    }
  });
  memory_ = std::move(memory);
}

void Dataset::open_for_reading() {
  for (size_t i = 0; i < shards_.size(); ++i)
    if (is_readable(i)) shards_[i].open();
}

}  // namespace cfm::data
