#include "checkpoint/snapshot.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <gtest/gtest.h>

#include "support/file_bytes.h"
#include "support/scratch_directory.h"

namespace cfm::checkpoint {
namespace {

std::vector<Part> two_parts(double first) {
  const at::Tensor w = at::arange(first, first + 2 * 3 * 4 * 5).to(at::kFloat).reshape({2, 3, 4, 5});
  return {{"model", {{"w", w.contiguous(at::MemoryFormat::ChannelsLast)}, {"none", at::empty({0})}}, {{"k", "v"}}},
          {"exp_avg", {{"n", at::arange(7)}}, {}}};
}

void expect_as_written(const Snapshot& snapshot, const Part& part, size_t place, bool kept) {
  const tests::ScratchDirectory folder;
  const FileRecord written = write_safetensors(folder / part.file_name(), part.tensors, part.metadata);
  const FileRecord& found = snapshot.records().at(place);
  EXPECT_EQ(found.name, written.name);
  EXPECT_EQ(found.bytes, written.bytes);
  EXPECT_EQ(found.block_hashes, written.block_hashes);
  if (!kept) return;
  const std::span<const char> bytes = snapshot.bytes(found);
  EXPECT_TRUE(std::string(bytes.begin(), bytes.end()) == test::bytes_of(folder / part.file_name()));
}

TEST(Snapshot, HoldsTheBytesOfItsOwnFilesAndTheHashesOfAll) {
  Snapshot snapshot;
  for (const double first : {0.0, 1000.0}) {  // memory that has been used before
    const std::vector<Part> parts = two_parts(first);
    snapshot.take(parts, {1, 0}, /*rank=*/1, [] {});
    snapshot.hash([] {});
    ASSERT_EQ(snapshot.records().size(), 2U);
    expect_as_written(snapshot, parts[0], 0, true);
    expect_as_written(snapshot, parts[1], 1, false);
  }
}

TEST(Snapshot, KeepsItsMemoryWhereAHeaderGrows) {
  Snapshot snapshot;
  std::vector<Part> parts = two_parts(0);
  snapshot.take(parts, {0, 0}, 0, [] {});
  const char* const before = snapshot.bytes(snapshot.records()[0]).data();
  parts[0].metadata["k"] = std::string(100, 'v');
  snapshot.take(parts, {0, 0}, 0, [] {});
  snapshot.hash([] {});
  EXPECT_EQ(snapshot.bytes(snapshot.records()[0]).data(), before);
  expect_as_written(snapshot, parts[0], 0, true);
}

}  // namespace
}  // namespace cfm::checkpoint
