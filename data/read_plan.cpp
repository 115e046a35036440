#include "data/read_plan.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/hash.h"

namespace cfm::data {
namespace {

using std::filesystem::path;

constexpr uint64_t kMost = uint64_t{1} << 62;  // bytes and images beyond this are damage

std::string dims_text(const std::vector<uint64_t>& dims) {
  std::string text = "(";
  for (size_t i = 0; i < dims.size(); ++i) text += (i > 0 ? "," : "") + std::to_string(dims[i]);
  return text + (dims.size() == 1 ? ",)" : ")");
}

bool is_channels(uint64_t size) { return size == 1 || size == 3; }

// Product of sizes; 0 if it is not below kMost.
uint64_t product(const std::vector<uint64_t>& sizes) {
  uint64_t all = 1;
  for (const uint64_t size : sizes)
    if (__builtin_mul_overflow(all, size, &all) || all > kMost) return 0;
  return all;
}

// Side of a square image of planar rows; 0 if there is none.
uint64_t planar_side(uint64_t width, uint64_t channels) {
  const uint64_t area = width / channels;
  const auto side = static_cast<uint64_t>(std::llround(std::sqrt(static_cast<double>(area))));
  return side * side * channels == width ? side : 0;
}

struct Pixels {
  ImageShape shape;
  bool interleaved = false;
};

ImageShape chw(uint64_t channels, uint64_t height, uint64_t width) {
  return {static_cast<int64_t>(channels), static_cast<int64_t>(height), static_cast<int64_t>(width)};
}

// (N,C,H,W), (N,H,W,C), (N,H,W) or planar rows (N,C*R*R), C = 1 or 3.
Pixels pixels_of(const std::vector<uint64_t>& s, const std::string& where) {
  if (s.size() == 4 && is_channels(s[1])) return {chw(s[1], s[2], s[3])};
  if (s.size() == 4 && is_channels(s[3])) return {chw(s[3], s[1], s[2]), true};
  if (s.size() == 3) return {chw(1, s[1], s[2])};
  if (s.size() == 2)
    for (const uint64_t channels : {3, 1})
      if (const uint64_t side = planar_side(s[1], channels); s[1] % channels == 0 && side > 0)
        return {chw(channels, side, side)};
  throw Error(where + " has shape " + dims_text(s) +
              "; expected (N,C,H,W), (N,H,W,C), (N,H,W) or planar rows (N,C*R*R) with C = 1 or 3.");
}

void check_stored_inside(const FileFacts& facts, const std::string& where) {
  check(facts.storage != Storage::kVirtual,
        where + " is virtual: its images are in other files. Give those, or copy them into one: h5repack -l " +
            facts.images_name + ":CONTI IN.h5 OUT.h5");
  check(!facts.external, where + " keeps its data in another file; expected it inside. Copy it: h5repack -l " +
                             facts.images_name + ":CONTI IN.h5 OUT.h5");
  check(facts.allocated, where + " was declared but never written, or only partly. Pack it again.");
}

void check_within(uint64_t begin, uint64_t size, const FileFacts& facts, const std::string& what) {
  check(begin <= facts.file_bytes && size <= facts.file_bytes - begin,
        what + " is truncated: it takes bytes " + std::to_string(begin) + " to " + std::to_string(begin + size) +
            ", the file ends at " + std::to_string(facts.file_bytes) + ". Copy or pack the file again.");
}

std::string filters_text(const FileFacts& facts) {
  std::string text;
  for (const std::string& filter : facts.filters) text += filter + ", ";
  return text;
}

// Whether each chunk holds whole images, so that an image is one run of bytes.
bool holds_whole_images(const FileFacts& facts) {
  return facts.filters.empty() && facts.chunk.size() == facts.shape.size() &&
         std::equal(facts.chunk.begin() + 1, facts.chunk.end(), facts.shape.begin() + 1);
}

void plan_chunks(const FileFacts& facts, const std::string& where, ReadPlan& plan) {
  check(facts.chunk.size() == facts.shape.size() && product(facts.chunk) > 0,
        where + " has chunks of the impossible shape " + dims_text(facts.chunk) + ".");
  plan.access = Access::kOnePass;
  plan.storage = filters_text(facts) + "chunks of " + dims_text(facts.chunk);
  if (!holds_whole_images(facts)) return;
  const uint64_t of_chunk = facts.chunk[0], expected = (facts.shape[0] - 1) / of_chunk + 1;
  if (facts.chunk_offsets.empty()) {
    plan.storage += ", " + std::to_string(facts.chunks) + " of them: too many to list";
    return;
  }
  check(facts.chunk_offsets.size() == expected, where + " has " + std::to_string(facts.chunk_offsets.size()) +
                                                    " chunks; its shape " + dims_text(facts.shape) + " needs " +
                                                    std::to_string(expected) + ". Pack it again.");
  for (size_t i = 0; i < facts.chunk_offsets.size(); ++i)
    check_within(facts.chunk_offsets[i], product(facts.chunk), facts, where + ": chunk " + std::to_string(i));
  plan.access = Access::kChunks;
  plan.storage = "chunks of " + std::to_string(of_chunk) + " images";
  plan.chunk_images = static_cast<int64_t>(of_chunk);
  plan.chunk_offsets = facts.chunk_offsets;
}

void plan_storage(const FileFacts& facts, uint64_t bytes, const std::string& where, ReadPlan& plan) {
  if (facts.storage == Storage::kChunked) return plan_chunks(facts, where, plan);
  if (facts.storage == Storage::kCompact) {
    plan.access = Access::kOnePass;
    plan.storage = "compact (in the file's metadata)";
    return;
  }
  check(facts.storage_bytes == bytes, where + " holds " + std::to_string(facts.storage_bytes) + " bytes; its shape " +
                                          dims_text(facts.shape) + " needs " + std::to_string(bytes) +
                                          ". Pack it again.");
  check_within(facts.offset, bytes, facts, where);
  plan.offset = facts.offset;
  plan.storage = "contiguous";
}

void check_labels(const FileFacts& facts, int64_t images, const path& path) {
  check(!facts.labels_name.empty() || !facts.labels.empty(),
        path.string() + " has no dataset `labels` (nor `y`) beside `" + facts.images_name +
            "`. Pack it: cfm_pack gives every image of such a file the label 0, with a warning.");
  const std::string where = "dataset `" + facts.labels_name + "` of " + path.string();
  const std::vector<uint64_t>& s = facts.labels_shape;
  check(s.size() == 1 || (s.size() == 2 && s[1] == 1),
        where + " has shape " + dims_text(s) + "; expected (N,) or (N,1), an integer for each image." +
            (s.size() == 2 && s[0] == static_cast<uint64_t>(images) ? " If it is one-hot: labels.argmax(1)" : ""));
  check(s[0] == static_cast<uint64_t>(images) && facts.labels.size() == s[0],
        where + " has " + std::to_string(s[0]) + " labels for " + std::to_string(images) + " images in `" +
            facts.images_name + "`; expected as many labels as images.");
  const auto [least, most] = std::ranges::minmax_element(facts.labels);
  check(*least >= 0 && *most < int64_t{1} << 31,
        where + ": label " + std::to_string((*least < 0 ? least : most) - facts.labels.begin()) + " is " +
            std::to_string(*least < 0 ? *least : *most) + "; expected 0 or more, and below 2^31.");
}

void check_attributes(const FileFacts& facts, const path& path) {
  const auto version = facts.attributes.find(kVersionName);
  check(version == facts.attributes.end() || version->second == kFormatVersion,
        path.string() + " has format_version " + (version == facts.attributes.end() ? "" : version->second) +
            "; this program reads " + kFormatVersion + ". Use the release that wrote it, or pack it again.");
  const auto hash = facts.attributes.find(kLabelsHashName);
  check(hash == facts.attributes.end() ||
            hash->second == xxh3_128_hex(facts.labels.data(), facts.labels.size() * sizeof(int64_t)),
        "dataset `" + facts.labels_name + "` of " + path.string() +
            " is damaged: its hash is not the one in the file. Copy or pack it again.");
  const auto sum = facts.attributes.find(kImagesSumName);
  check(
      sum == facts.attributes.end() ||
          (sum->second.size() == 32 && sum->second.find_first_not_of("0123456789abcdef") == std::string::npos),
      path.string() + " is damaged: its attribute " + kImagesSumName + " is not 32 hex digits. Copy or pack it again.");
}

}  // namespace

std::string shape_text(const ImageShape& shape) {
  return std::to_string(shape.channels) + "x" + std::to_string(shape.height) + "x" + std::to_string(shape.width);
}

uint64_t ReadPlan::place_of(int64_t image) const {
  const auto bytes = static_cast<uint64_t>(shape.bytes());
  if (access == Access::kContiguous) return offset + static_cast<uint64_t>(image) * bytes;
  return chunk_offsets[static_cast<size_t>(image / chunk_images)] + static_cast<uint64_t>(image % chunk_images) * bytes;
}

ReadPlan plan_of(const FileFacts& facts, const path& path) {
  const std::string where = "dataset `" + facts.images_name + "` of " + path.string();
  check(facts.images_type == "uint8",
        where + " has type " + facts.images_type + "; expected uint8, 0..255. Convert it and pack it again.");
  const Pixels pixels = pixels_of(facts.shape, where);
  const uint64_t bytes = product(facts.shape);
  check(std::ranges::find(facts.shape, uint64_t{0}) == facts.shape.end(),
        where + " has shape " + dims_text(facts.shape) + ": there is nothing in it.");
  check(bytes > 0 && facts.shape[0] < uint64_t{1} << 32,
        where + " has the impossible shape " + dims_text(facts.shape) + ".");
  check_stored_inside(facts, where);
  ReadPlan plan;
  plan.images = static_cast<int64_t>(facts.shape[0]);
  plan.shape = pixels.shape;
  plan.interleaved = pixels.interleaved && pixels.shape.channels > 1;
  plan_storage(facts, bytes, where, plan);
  check_labels(facts, plan.images, path);
  const auto blocks = static_cast<size_t>(block_count(plan.images));
  check(facts.block_hashes.empty() || facts.block_hashes.size() == blocks,
        "dataset `" + std::string(kHashesName) + "` of " + path.string() + " has " +
            std::to_string(facts.block_hashes.size()) + " hashes; expected one for every " +
            std::to_string(kBlockImages) + " images: " + std::to_string(blocks) + ".");
  check_attributes(facts, path);
  return plan;
}

}  // namespace cfm::data
