#include "checkpoint/snapshot.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "checkpoint/block_hasher.h"

namespace cfm::checkpoint {
namespace {

constexpr int64_t kPiece = 256 << 10;  // hashed while it is in the cache

// The bytes of a file as they come: counted, hashed, and copied to `into` unless that is null.
class Taker {
 public:
  Taker(char* into, const std::function<void()>& moved) : into_(into), moved_(moved) {}
  void take(const void* bytes, int64_t size) {
    const char* from = static_cast<const char*>(bytes);
    for (int64_t done = 0; done < size; done += kPiece) {
      const int64_t piece = std::min(kPiece, size - done);
      if (into_ != nullptr) std::memcpy(into_ + bytes_, from + done, static_cast<size_t>(piece));
      hasher_.update(from + done, piece);
      bytes_ += piece;
    }
    moved_();
  }
  FileRecord finish(const std::string& file) { return {file, bytes_, hasher_.finish()}; }

 private:
  char* into_;
  const std::function<void()>& moved_;
  int64_t bytes_ = 0;
  BlockHasher hasher_;
};

}  // namespace

int64_t Part::tensor_bytes() const {
  int64_t bytes = 0;
  for (const auto& [tensor_name, tensor] : tensors) bytes += static_cast<int64_t>(tensor.nbytes());
  return bytes;
}

void Snapshot::take(const std::vector<Part>& parts, const std::vector<int>& writers, int rank,
                    const std::function<void()>& moved) {
  records_.clear();
  for (size_t i = 0; i < parts.size(); ++i) {
    const Part& part = parts[i];
    const auto head = static_cast<int64_t>(safetensors_head(part.tensors, part.metadata).size());
    char* const into = writers[i] == rank ? room_for(part.file_name(), head + part.tensor_bytes()) : nullptr;
    Taker taker(into, moved);
    for_each_piece(part.tensors, part.metadata, [&](const void* bytes, int64_t size) { taker.take(bytes, size); });
    records_.push_back(taker.finish(part.file_name()));
  }
}

std::span<const char> Snapshot::bytes(const FileRecord& record) const {
  return {static_cast<const char*>(memory_.at(record.name).const_data_ptr()), static_cast<size_t>(record.bytes)};
}

char* Snapshot::room_for(const std::string& file, int64_t bytes) {
  constexpr int64_t kSlack = 4096;  // the header's numbers grow
  at::Tensor& memory = memory_[file];
  if (!memory.defined() || memory.numel() < bytes) memory = at::empty({bytes + kSlack}, at::kByte);
  return static_cast<char*>(memory.mutable_data_ptr());
}

}  // namespace cfm::checkpoint
