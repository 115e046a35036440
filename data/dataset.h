#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/ranks.h"
#include "data/dataset_fingerprint.h"
#include "data/hdf5_process.h"
#include "data/image_memory.h"
#include "data/sample_order.h"
#include "data/shard.h"
#include "data/staging.h"

namespace cfm::data {

struct DatasetOptions {
  std::string data_mode = "auto";        // auto, pread, ram
  bool verify = false;                   // read all images first and compare their hashes
  int64_t groups = 1;                    // data groups; a node reads its own groups' images only
  std::filesystem::path stage_dir = "";  // where a node copies its own files to before it reads them; empty: nowhere
  Ranks ranks = {};
  Hdf5Process* hdf5 = nullptr;  // where libhdf5 runs; null: in this process, for files that we have just written
  bool metadata_only = false;   // no image will be read
  // Whether labels count from 1 to 1000, as another set of the same classes does; none: the labels tell.
  std::optional<bool> labels_from_one = {};
  std::function<bool()> stopped = [] { return false; };  // asked while images are read; then open() ends: kRequeue
  bool zero_labels = false;  // images of a file without labels have label 0; otherwise it is refused
  Problems validate() const;
};

// Files of images as one sequence. Reading is thread-safe.
class Dataset {
 public:
  // `path`: a folder (all *.h5 and *.hdf5 in it, by name) or one file. Rank 0 asks libhdf5 and tells the others.
  // Refuses, naming both files, shards whose image shapes differ or that belong to different packings (split, seed,
  // number of shards); an empty folder; a folder from which shards are missing. Collective.
  static Dataset open(const std::filesystem::path& path, const DatasetOptions& options = {});

  int64_t size() const { return size_; }
  ImageShape image_shape() const { return shards_.front().image_shape(); }
  int64_t num_classes() const;  // 1 + the largest label
  const std::vector<Shard>& shards() const { return shards_; }
  int64_t label(int64_t index) const;
  // One image, CHW bytes. Throws Error for an image that is not this node's.
  void read(int64_t index, std::span<uint8_t> out) const;
  // Several, one behind the other in the order of `indices`.
  void read(std::span<const int64_t> indices, std::span<uint8_t> out) const;
  // The images that this node may read: those of its groups.
  Slots readable() const { return readable_; }
  // Opens files that were opened for their metadata alone. REQUIRES: not shared between threads yet.
  void open_for_reading();
  // What stands in checkpoints and results.
  const Fingerprint& fingerprint() const { return fingerprint_; }
  // Whether labels are stored as 1..1000, as the downsampled ImageNet's are: here they are 0..999.
  bool labels_from_one() const { return labels_from_one_; }
  // As cfm_pack --split named it; empty for others' files.
  std::string split() const { return shards_.front().attribute("split"); }
  // Whether cfm_pack wrote it; labels are 0, 1, ... then.
  bool is_ours() const { return shards_.front().is_ours(); }
  // How images are read, and why, in words: "ram: 3.94 GB, shared by a node's 4 ranks".
  const std::string& access() const { return access_; }
  const std::filesystem::path& path() const { return path_; }

 private:
  Dataset() = default;
  size_t shard_of(int64_t index) const;
  Slots of_shard(size_t shard) const { return {starts_[shard], starts_[shard + 1]}; }
  bool is_readable(size_t shard) const;
  void gather(std::span<const int64_t> indices, std::span<uint8_t> out) const;
  void read_facts(const DatasetOptions& options);
  void open_files(const DatasetOptions& options);
  bool choose_memory(const DatasetOptions& options);
  void fill_memory(const DatasetOptions& options);
  void verify_together(const DatasetOptions& options);

  std::filesystem::path path_;
  std::vector<Shard> shards_;
  std::vector<int64_t> starts_;  // of each shard, and the end
  int64_t size_ = 0;
  Slots readable_{0, 0};
  Fingerprint fingerprint_;
  std::string access_;
  bool labels_from_one_ = false;
  std::unique_ptr<Staging> staging_;
  std::unique_ptr<ImageMemory> memory_;  // of the readable images; null: pread
};

}  // namespace cfm::data
