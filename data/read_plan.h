#pragma once
// How the images of a file can be read: decided from what libhdf5 says alone, so that it can be tested on anything.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/file_facts.h"

namespace cfm::data {

struct ImageShape {
  int64_t channels = 0, height = 0, width = 0;
  int64_t bytes() const { return channels * height * width; }
  bool operator==(const ImageShape&) const = default;
};

// "3x32x32"
std::string shape_text(const ImageShape& shape);

enum class Access : uint8_t {
  kContiguous,  // image i lies at offset + i * bytes
  kChunks,      // in unfiltered chunks of whole images
  kOnePass,     // only libhdf5 can read it (filters, chunks that split images): once, into memory
};

struct ReadPlan {
  int64_t images = 0;
  ImageShape shape;
  bool interleaved = false;  // pixels are stored HWC; they are handed out CHW
  Access access = Access::kContiguous;
  uint64_t offset = 0;                  // kContiguous
  int64_t chunk_images = 0;             // kChunks: images in one
  std::vector<uint64_t> chunk_offsets;  // kChunks: where each lies in the file
  std::string storage;  // for people: "contiguous", "chunks of 500 images", "gzip, chunks of (128,3,32,32)"

  // Where image `image` lies in the file. REQUIRES: access is not kOnePass.
  uint64_t place_of(int64_t image) const;
};

// Throws Error naming `path`, what was found, what was expected and what to do: another type or rank, lengths that
// differ, what lies outside the file, what was never written, external or virtual storage.
ReadPlan plan_of(const FileFacts& facts, const std::filesystem::path& path);

}  // namespace cfm::data
