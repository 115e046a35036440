#include "checkpoint/snapshot.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "base/durable_file.h"
#include "checkpoint/block_hasher.h"

namespace cfm::checkpoint {
namespace {

// As a file that bypasses the page cache takes it.
at::Tensor aligned_memory(int64_t bytes) {
  constexpr auto kBlock = static_cast<int64_t>(kDirectBlock);
  const at::Tensor memory = at::empty({bytes + kBlock}, at::kByte);
  const auto beyond = static_cast<int64_t>(reinterpret_cast<std::uintptr_t>(memory.const_data_ptr()) % kDirectBlock);
  return memory.narrow(0, (kBlock - beyond) % kBlock, bytes);
}

}  // namespace

int64_t Part::tensor_bytes() const {
  int64_t bytes = 0;
  for (const auto& [tensor_name, tensor] : tensors) bytes += static_cast<int64_t>(tensor.nbytes());
  return bytes;
}

void Snapshot::take(const std::vector<Part>& parts, const std::vector<int>& writers, int rank,
                    const std::function<void()>& moved) {
  records_.clear();
  records_.reserve(parts.size());
  for (size_t i = 0; i < parts.size(); ++i) {
    const Part& part = parts[i];
    const auto head = static_cast<int64_t>(safetensors_head(part.tensors, part.metadata).size());
    char* const into = writers[i] == rank ? room_for(part.file_name(), head + part.tensor_bytes()) : nullptr;
    int64_t size = 0;
    BlockHasher hasher;
    for_each_piece(part.tensors, part.metadata, [&](const void* bytes, int64_t piece) {
      if (into != nullptr) {
        std::memcpy(into + size, bytes, static_cast<size_t>(piece));
      } else {
        hasher.update(bytes, piece);
      }
      size += piece;
      moved();
    });
    records_.push_back({part.file_name(), size, hasher.finish()});
  }
}

void Snapshot::hash(const std::function<void()>& moved) {
  for (FileRecord& record : records_) {
    if (!record.block_hashes.empty()) continue;
    const std::span<const char> all = bytes(record);
    BlockHasher hasher;
    for (size_t at = 0; at < all.size(); at += kHashBlock) {
      hasher.update(all.data() + at, static_cast<int64_t>(std::min<size_t>(kHashBlock, all.size() - at)));
      moved();
    }
    record.block_hashes = hasher.finish();
  }
}

std::span<const char> Snapshot::bytes(const FileRecord& record) const {
  return {static_cast<const char*>(memory_.at(record.name).const_data_ptr()), static_cast<size_t>(record.bytes)};
}

char* Snapshot::room_for(const std::string& file, int64_t bytes) {
  constexpr int64_t kSlack = 4096;  // the header's numbers grow
  at::Tensor& memory = memory_[file];
  if (!memory.defined() || memory.numel() < bytes) memory = aligned_memory(bytes + kSlack);
  return static_cast<char*>(memory.mutable_data_ptr());
}

}  // namespace cfm::checkpoint
