// libFuzzer: whatever libhdf5 may say of a file is a plan or a cfm::Error; every image and chunk of a plan lies within
// the file; and what is said survives the pipe to another process.

#include <array>
#include <cstdlib>
#include <span>

#include "base/error.h"
#include "data/read_plan.h"

namespace {

using cfm::data::Access;
using cfm::data::FileFacts;
using cfm::data::ReadPlan;

constexpr uint64_t kFew = 5000;  // images that get a label each

// The input's bytes as values; zeros behind its end.
class Values {
 public:
  explicit Values(std::span<const uint8_t> bytes) : bytes_(bytes) {}
  uint64_t byte() {
    if (bytes_.empty()) return 0;
    const uint8_t value = bytes_.front();
    bytes_ = bytes_.subspan(1);
    return value;
  }
  // Small, or one where arithmetic may go wrong, or any.
  uint64_t number() {
    constexpr std::array<uint64_t, 12> kEdges{
        1ULL << 16, 1ULL << 31,       (1ULL << 32) - 1, 1ULL << 32, 1ULL << 61, (1ULL << 62) - 1,
        1ULL << 62, (1ULL << 62) + 1, 1ULL << 63,       ~0ULL - 1,  ~0ULL,      0x5555555555555556ULL};
    const uint64_t first = byte();
    if (first < 224) return first;
    if (first < 236) return kEdges[first - 224];
    uint64_t value = 0;
    for (int i = 0; i < 8; ++i) value = value << 8 | byte();
    return value;
  }
  std::vector<uint64_t> numbers(uint64_t count) {
    std::vector<uint64_t> values(count);
    for (uint64_t& value : values) value = number();
    return values;
  }
  std::string text() {
    std::string value(byte() % 40, ' ');
    for (char& letter : value) letter = static_cast<char>(byte());
    return value;
  }

 private:
  std::span<const uint8_t> bytes_;
};

uint64_t product(const std::vector<uint64_t>& sizes) {
  uint64_t all = 1;
  for (const uint64_t size : sizes) all *= size;
  return all;
}

// Half of the flags make facts agree with each other: with none that do, all would be refused early.
FileFacts decode(Values values) {
  FileFacts facts;
  facts.images_name = "imgs";
  facts.images_type = values.byte() % 16 == 15 ? values.text() : "uint8";
  const uint64_t flags = values.byte();
  facts.external = (flags & 1) != 0;
  facts.allocated = (flags & 2) == 0;
  const bool sizes_agree = (flags & 8) != 0, chunks_agree = (flags & 16) != 0, chunks_listed = (flags & 32) != 0,
             labels_agree = (flags & 64) != 0, chunks_follow = (flags & 128) != 0;
  facts.storage = static_cast<cfm::data::Storage>(values.byte() % 4);
  facts.shape = values.numbers(values.byte() % 6);
  const uint64_t images = facts.shape.empty() ? 0 : facts.shape[0];

  facts.offset = values.number();
  facts.userblock = values.number();
  facts.storage_bytes = sizes_agree ? product(facts.shape) : values.number();
  facts.file_bytes = sizes_agree ? facts.offset + facts.storage_bytes + values.number() : values.number();
  facts.chunk = chunks_agree ? facts.shape : values.numbers(values.byte() % 6);
  if (chunks_agree && !facts.chunk.empty()) facts.chunk[0] = values.number();
  for (uint64_t i = values.byte(); i > 253; --i) facts.filters.push_back(values.text());
  facts.chunks = values.number();
  const uint64_t of_chunk = facts.chunk.empty() ? 0 : facts.chunk[0];
  const uint64_t needed = of_chunk == 0 ? 0 : images / of_chunk + (images % of_chunk != 0 ? 1 : 0);
  facts.chunk_offsets.resize(chunks_listed && needed < kFew ? needed : values.byte() % 8);
  for (uint64_t i = 0; i < facts.chunk_offsets.size(); ++i)
    facts.chunk_offsets[i] = chunks_follow ? facts.offset + i * product(facts.chunk) : values.number();
  if (chunks_follow && sizes_agree) facts.file_bytes += facts.chunk_offsets.size() * product(facts.chunk);

  facts.labels_name = values.text();
  facts.labels_shape = labels_agree ? std::vector<uint64_t>{images} : values.numbers(values.byte() % 4);
  facts.labels.resize(labels_agree && images < kFew ? images : values.byte());
  for (int64_t& label : facts.labels) label = static_cast<int64_t>(values.number());
  facts.block_hashes.resize(values.byte() % 4);
  for (std::string& hash : facts.block_hashes) hash = values.text();
  constexpr std::array kNames{cfm::data::kVersionName, cfm::data::kLabelsHashName, cfm::data::kImagesSumName, "source"};
  for (uint64_t i = values.byte() % 4; i > 0; --i) facts.attributes[kNames[values.byte() % 4]] = values.text();
  for (uint64_t i = values.byte() % 4; i > 0; --i)
    facts.probes.push_back({static_cast<int64_t>(values.number()), values.text()});
  return facts;
}

void hold(bool holds) {
  if (!holds) std::abort();
}

void check_image(const ReadPlan& plan, const FileFacts& facts, int64_t image) {
  const auto bytes = static_cast<unsigned __int128>(plan.shape.bytes());
  hold(plan.place_of(image) + bytes <= facts.file_bytes);
}

void check_plan(const ReadPlan& plan, const FileFacts& facts) {
  unsigned __int128 bytes = 1;
  for (const uint64_t size : facts.shape) bytes *= size;
  hold(plan.images > 0 && plan.shape.channels > 0 && plan.shape.height > 0 && plan.shape.width > 0);
  hold(plan.shape.channels == 1 || plan.shape.channels == 3);
  hold(static_cast<unsigned __int128>(plan.images) * static_cast<unsigned __int128>(plan.shape.bytes()) == bytes);
  hold(facts.labels.size() == static_cast<uint64_t>(plan.images));
  for (const int64_t label : facts.labels) hold(label >= 0);
  if (plan.access == Access::kOnePass) return;
  for (const int64_t image : {int64_t{0}, plan.images / 2, plan.images - 1}) check_image(plan, facts, image);
  if (plan.access == Access::kContiguous) return;
  hold(plan.chunk_images > 0);
  const auto chunks = static_cast<int64_t>(plan.chunk_offsets.size());
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    const int64_t first = chunk * plan.chunk_images;
    hold(first < plan.images);
    check_image(plan, facts, first);
    check_image(plan, facts, chunk + 1 < chunks ? first + plan.chunk_images - 1 : plan.images - 1);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const FileFacts facts = decode(Values(std::span(bytes, size)));
  if (size % 4 == 0) hold(cfm::data::facts_from_bytes(cfm::data::to_bytes(facts)) == facts);  // slow: of some
  try {
    check_plan(cfm::data::plan_of(facts, "input"), facts);
  } catch (const cfm::Error&) {
  }
  return 0;
}
