#include "data/dataset_fingerprint.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/durable_file.h"
#include "base/environment.h"
#include "base/error.h"
#include "base/hash.h"
#include "data/fingerprint.h"
#include "data/planar.h"

namespace cfm::data {
namespace {

namespace fs = std::filesystem;

// ---- what is remembered of files that others wrote ----

struct Identity {
  std::string path;
  int64_t size = 0, changed = 0;  // bytes; nanoseconds since 1970
};

std::optional<Identity> identity_of(const fs::path& file) {
  std::error_code error;
  const fs::path whole = fs::canonical(file, error);
  struct stat status {};
  if (error || ::stat(whole.c_str(), &status) != 0) return std::nullopt;
  return Identity{whole.string(), status.st_size,
                  int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec};
}

fs::path cache_file(const Identity& identity) {
  return cache_folder("fingerprints") / (xxh3_128_hex(identity.path.data(), identity.path.size()) + ".json");
}

// The order-free fingerprint of all images of `file`, if an earlier reading left it; empty otherwise.
std::string recall(const fs::path& file) try {
  const auto identity = identity_of(file);
  if (!identity || !fs::exists(cache_file(*identity))) return "";
  const auto known = nlohmann::json::parse(read_file(cache_file(*identity)));
  const bool same = known.at("path") == identity->path && known.at("size") == identity->size &&
                    known.at("changed") == identity->changed;
  return same ? known.at("images").get<std::string>() : "";
} catch (const std::exception&) {
  return "";  // a damaged note is no note
}

// Keeps a note where it can; without one the file is only read again another time.
void remember(const fs::path& file, const std::string& images) try {
  const auto identity = identity_of(file);
  if (!identity || cache_folder("fingerprints").empty()) return;
  fs::create_directories(cache_folder("fingerprints"));
  const nlohmann::json note{
      {"path", identity->path}, {"size", identity->size}, {"changed", identity->changed}, {"images", images}};
  write_durably(cache_file(*identity), note.dump(1));
} catch (const std::exception&) {
}

// ---- the two parts ----

std::string labels_hash(const Shard& shard) {
  return xxh3_128_hex(shard.labels().data(), shard.labels().size() * sizeof(int64_t));
}

// Hash of 64 KiB at 16 places of the file, from its first byte to its last.
std::string samples_hash(const Shard& shard) {
  constexpr uint64_t kPlaces = 16, kBytes = 64 << 10;
  std::vector<uint8_t> bytes(std::min(kBytes, shard.facts().file_bytes));
  Xxh3 hash;
  for (uint64_t i = 0; i < kPlaces; ++i) {
    shard.read_raw(i * (shard.facts().file_bytes - bytes.size()) / (kPlaces - 1), bytes);
    hash.update(bytes.data(), bytes.size());
  }
  return hash.hex();
}

std::string files_part(const std::vector<Shard>& shards) {
  Xxh3 hash;
  const auto add = [&hash](const std::string& text) { hash.update(text.data(), text.size()); };
  add("cfm data set 1\n");
  for (const Shard& shard : shards) {
    add(std::to_string(shard.size()) + " " + shape_text(shard.image_shape()) + "\n");
    add(labels_hash(shard) + "\n");
    for (const std::string& block : shard.block_hashes()) add(block + "\n");
    if (!shard.is_ours()) add(std::to_string(shard.facts().file_bytes) + " bytes " + samples_hash(shard) + "\n");
  }
  return hash.hex();
}

std::string images_part(const std::vector<Shard>& shards) {
  ImagesFingerprint sum;
  for (const Shard& shard : shards) {
    const std::string known = shard.is_ours() ? shard.attribute(kImagesSumName) : recall(shard.path());
    if (known.empty()) return "";
    sum.add(ImagesFingerprint::from_hex(known));
  }
  return sum.hex();
}

}  // namespace

Fingerprint fingerprint_of(const std::vector<Shard>& shards) { return {images_part(shards), files_part(shards)}; }

void for_all_images(const Shard& shard, Hdf5Process* hdf5,
                    const std::function<void(int64_t, std::span<const uint8_t>)>& take) {
  const auto bytes = static_cast<size_t>(shard.image_shape().bytes());
  std::vector<uint8_t> pixels;
  int64_t first = 0;
  if (shard.plan().access != Access::kOnePass) {
    const int64_t piece = std::max<int64_t>(1, (int64_t{4} << 20) / shard.image_shape().bytes());
    for (; first < shard.size(); first += piece) {
      pixels.resize(static_cast<size_t>(std::min(piece, shard.size() - first)) * bytes);
      shard.read(first, pixels);
      take(first, pixels);
    }
    return;
  }
  const auto place = [&](std::span<const uint8_t> stored) {
    check(stored.size() % bytes == 0 && first + static_cast<int64_t>(stored.size() / bytes) <= shard.size(),
          shard.path().string() + " holds more than it did when it was opened. Copy it again.");
    if (shard.plan().interleaved) {
      pixels.resize(stored.size());
      for (size_t at = 0; at < stored.size(); at += bytes)
        to_planar(stored.subspan(at, bytes), shard.image_shape(), std::span(pixels).subspan(at, bytes));
      take(first, pixels);
    } else {
      take(first, stored);
    }
    first += static_cast<int64_t>(stored.size() / bytes);
  };
  if (hdf5 != nullptr) {
    hdf5->read_in_one_pass(shard.path(), place);
  } else {
    read_in_one_pass(shard.path(), shard.facts(), place);
  }
  check(first == shard.size(), shard.path().string() + " gave " + std::to_string(first) + " of its " +
                                   std::to_string(shard.size()) + " images. Copy it again.");
}

void learn_images_fingerprint(const Shard& shard, Hdf5Process* hdf5) {
  if (shard.is_ours()) return;
  const auto bytes = static_cast<size_t>(shard.image_shape().bytes());
  ImagesFingerprint sum;
  for_all_images(shard, hdf5, [&](int64_t first, std::span<const uint8_t> pixels) {
    for (size_t i = 0; i < pixels.size() / bytes; ++i)
      sum.add(pixels.subspan(i * bytes, bytes), shard.labels()[static_cast<size_t>(first) + i]);
  });
  const std::string earlier = recall(shard.path());
  check(earlier.empty() || earlier == sum.hex(),
        shard.path().string() + " is damaged: its images hash to " + sum.hex() + ", to " + earlier +
            " when they were read before, and the file's size and time of change are the same. Copy it again.");
  remember(shard.path(), sum.hex());
}

void verify_in_one_pass(const Shard& shard, Hdf5Process* hdf5) {
  const auto bytes = static_cast<size_t>(shard.image_shape().bytes());
  auto block = std::make_unique<Xxh3>();
  const auto compare = [&](int64_t images) {
    const auto number = static_cast<size_t>(block_count(images) - 1);
    check(block->hex() == shard.block_hashes()[number],
          shard.path().string() + " is damaged: images from " + std::to_string(number * kBlockImages) + " on hash to " +
              block->hex() + ", expected " + shard.block_hashes()[number] + ". Copy it again.");
    block = std::make_unique<Xxh3>();
  };
  for_all_images(shard, hdf5, [&](int64_t first, std::span<const uint8_t> pixels) {
    for (size_t i = 0; i < pixels.size() / bytes; ++i) {
      block->update(pixels.data() + i * bytes, bytes);
      const int64_t images = first + static_cast<int64_t>(i) + 1;
      if (images % kBlockImages == 0 || images == shard.size()) compare(images);
    }
  });
}

}  // namespace cfm::data
