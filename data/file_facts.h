#pragma once
// What libhdf5 says about a file of images, as plain values: everything that it is asked for, so that nothing else
// depends on it. How the images can be read follows from this alone (read_plan.h).

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace cfm::data {

constexpr const char* kImagesName = "imgs";  // in shards of ours; other names are known too
constexpr const char* kLabelsName = "labels";
constexpr const char* kHashesName = "xxh3";                // dataset of 32-character strings, one for each block
constexpr const char* kLabelsHashName = "labels_xxh3";     // attribute: XXH3-128 of the labels as int64 little-endian
constexpr const char* kImagesSumName = "images_xxh3_sum";  // attribute: the order-free fingerprint of the images
constexpr const char* kVersionName = "format_version";     // attribute
constexpr const char* kFormatVersion = "1";
constexpr int64_t kBlockImages = 1024;  // images that one hash covers

inline int64_t block_count(int64_t images) { return (images + kBlockImages - 1) / kBlockImages; }

enum class Storage : uint8_t { kContiguous, kChunked, kCompact, kVirtual };

struct FileFacts {
  struct Probe {
    int64_t image;
    std::string hash;  // XXH3-128 of its bytes as libhdf5 reads them
    bool operator==(const Probe&) const = default;
  };
  uint64_t file_bytes = 0;  // when it was opened
  uint64_t userblock = 0;   // bytes before the HDF5 file in the file

  // The dataset of images.
  std::string images_name;
  std::string images_type;      // "uint8"
  std::vector<uint64_t> shape;  // as declared
  Storage storage = Storage::kContiguous;
  bool external = false;  // its bytes are in other files
  bool allocated = true;  // it was written
  uint64_t offset = 0;    // contiguous: of its first byte in the file
  uint64_t storage_bytes = 0;
  std::vector<uint64_t> chunk;  // chunked: a chunk's shape
  std::vector<std::string> filters;
  uint64_t chunks = 0;                  // chunked: how many there are
  std::vector<uint64_t> chunk_offsets;  // where each lies, absolute, in order; empty where that is not worth asking for
  std::vector<Probe> probes;            // first, middle and last image

  // Everything else.
  std::string labels_name;  // empty: there are none
  std::vector<uint64_t> labels_shape;
  std::vector<int64_t> labels;  // as stored; of a file without: none, or what whoever reads it takes them for
  std::vector<std::string> block_hashes;
  std::map<std::string, std::string> attributes;  // text attributes of the file; empty for others

  bool operator==(const FileFacts&) const = default;
};

// Bytes for a pipe or a broadcast, and back.
std::string to_bytes(const FileFacts& facts);
FileFacts facts_from_bytes(const std::string& bytes);

// Asks libhdf5, in this process. Throws Error naming the file and the dataset, what was found and what was expected:
// not HDF5, truncated, no images under a name that is known, links to elsewhere. One thread at a time.
FileFacts read_facts(const std::filesystem::path& path);

// All images in order, as the file holds them, in pieces of whole images: for what pread cannot serve. The pieces
// follow the chunks, so that none is decompressed twice. One thread at a time.
void read_in_one_pass(const std::filesystem::path& path, const FileFacts& facts,
                      const std::function<void(std::span<const uint8_t>)>& take);

}  // namespace cfm::data
