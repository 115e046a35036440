#include "checkpoint/safetensors.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <c10/core/DeviceGuard.h>

#include <algorithm>
#include <array>
#include <bit>
#include <set>

#include "base/durable_file.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/shape.h"
#include "checkpoint/block_hasher.h"
#include "checkpoint/input_file.h"
#include "checkpoint/safetensors_header.h"

namespace cfm::checkpoint {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors are little-endian");

constexpr int64_t kPiece = 1 << 20;  // hashed while it is in the cache
static_assert(kHashBlock % kPiece == 0);

class HashedFile {
 public:
  explicit HashedFile(const std::filesystem::path& path) : path_(path), file_(path) {}
  void append(const void* bytes, int64_t size) {
    const char* at = static_cast<const char*>(bytes);
    for (bytes_ += size; size > 0;) {
      const int64_t piece = std::min(size, kPiece);
      hasher_.update(at, piece);
      file_.append(at, static_cast<size_t>(piece));
      at += piece;
      size -= piece;
    }
  }
  FileRecord close() {
    file_.close();
    return {path_.filename().string(), bytes_, hasher_.finish()};
  }

 private:
  std::filesystem::path path_;
  DurableFile file_;
  BlockHasher hasher_;
  int64_t bytes_ = 0;
};

// C-contiguous. From a device by way of pinned memory, of which LibTorch keeps what it has had; on the device's default
// stream, so behind every update that has been asked for, whatever thread this is.
at::Tensor on_host(const at::Tensor& tensor) {
  if (!tensor.is_cuda()) return tensor.contiguous();
  const c10::DeviceGuard on_its_device(tensor.device());  // a new thread's is device 0
  return at::empty(tensor.sizes(), at::TensorOptions().dtype(tensor.scalar_type()).pinned_memory(true)).copy_(tensor);
}

struct OpenedFile {
  SafetensorsHeader header;
  int64_t data_start;
};

OpenedFile open_header(const InputFile& file) {
  const std::string where = file.path().string();
  std::array<uint8_t, 8> length_bytes{};
  check(file.size() >= 8,
        where + " has " + std::to_string(file.size()) + " bytes: not a safetensors file, or truncated");
  file.read(length_bytes.data(), 0, 8);
  const auto length = std::bit_cast<uint64_t>(length_bytes);
  check(length <= static_cast<uint64_t>(kLargestHeader),
        where + " declares a header of " + std::to_string(length) +
            " bytes, over the format's 100 MB: not a safetensors file");
  const auto data_start = static_cast<int64_t>(8 + length);
  check(data_start <= file.size(), where + " declares a header of " + std::to_string(length) +
                                       " bytes, but the file has " + std::to_string(file.size()) + ": truncated");
  std::string text(length, ' ');
  file.read(text.data(), 8, static_cast<int64_t>(length));
  return {parse_header(text, file.size() - data_start, where), data_start};
}

}  // namespace

std::string safetensors_head(const NamedTensors& tensors, const Metadata& metadata) {
  SafetensorsHeader header{metadata, {}};
  int64_t end = 0;
  for (const auto& [name, tensor] : tensors) {
    const int64_t begin = end;
    end += static_cast<int64_t>(tensor.nbytes());
    header.tensors.push_back({name, tensor.scalar_type(), tensor.sizes().vec(), begin, end});
  }
  const std::string text = header_text(header);
  const auto length = std::bit_cast<std::array<char, 8>>(static_cast<uint64_t>(text.size()));
  return std::string(length.data(), length.size()) + text;
}

void for_each_piece(const NamedTensors& tensors, const Metadata& metadata,
                    const std::function<void(const void*, int64_t)>& take) {
  const std::string head = safetensors_head(tensors, metadata);
  take(head.data(), static_cast<int64_t>(head.size()));
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor dense = on_host(tensor.detach());
    take(dense.const_data_ptr(), static_cast<int64_t>(dense.nbytes()));
  }
}

FileRecord write_safetensors(const std::filesystem::path& path, const NamedTensors& tensors, const Metadata& metadata) {
  HashedFile file(path);
  for_each_piece(tensors, metadata, [&](const void* bytes, int64_t size) { file.append(bytes, size); });
  return file.close();
}

SafetensorsFile read_safetensors(const std::filesystem::path& path) {
  const InputFile file(path);
  OpenedFile opened = open_header(file);
  SafetensorsFile result{std::move(opened.header.metadata), {}};
  for (const TensorEntry& entry : opened.header.tensors) {
    at::Tensor tensor = at::empty(entry.shape, at::TensorOptions().dtype(entry.type));
    file.read(tensor.mutable_data_ptr(), opened.data_start + entry.begin, entry.end - entry.begin);
    result.tensors.emplace_back(entry.name, std::move(tensor));
  }
  return result;
}

Metadata read_safetensors_metadata(const std::filesystem::path& path) {
  return open_header(InputFile(path)).header.metadata;
}

std::string file_hash(const std::filesystem::path& path) {
  const InputFile file(path);
  std::vector<char> piece(kPiece);
  Xxh3 hash;
  for (int64_t at = 0; at < file.size();) {
    const int64_t size = std::min(kPiece, file.size() - at);
    file.read(piece.data(), at, size);
    hash.update(piece.data(), static_cast<size_t>(size));
    at += size;
  }
  return hash.hex();
}

void verify_file(const std::filesystem::path& path, const FileRecord& record) {
  const InputFile file(path);
  check(file.size() == record.bytes, path.string() + " has " + std::to_string(file.size()) +
                                         " bytes, its manifest records " + std::to_string(record.bytes) + ": damaged");
  const auto blocks = static_cast<size_t>((record.bytes + kHashBlock - 1) / kHashBlock);
  check(record.block_hashes.size() == blocks, path.string() + ": the manifest records " +
                                                  std::to_string(record.block_hashes.size()) +
                                                  " block hashes, expected " + std::to_string(blocks));
  std::vector<char> piece(kPiece);
  for (size_t block = 0; block < blocks; ++block) {
    const int64_t begin = static_cast<int64_t>(block) * kHashBlock, end = std::min(begin + kHashBlock, record.bytes);
    Xxh3 hash;
    for (int64_t at = begin; at < end; at += kPiece) {
      const int64_t size = std::min(kPiece, end - at);
      file.read(piece.data(), at, size);
      hash.update(piece.data(), static_cast<size_t>(size));
    }
    check(hash.hex() == record.block_hashes[block],
          path.string() + ": bytes " + std::to_string(begin) + " to " + std::to_string(end) + " hash to " + hash.hex() +
              ", the manifest records " + record.block_hashes[block] + ": damaged");
  }
}

void load_tensors(const NamedTensors& from, const NamedTensors& into, const std::string& where) {
  std::map<std::string, at::Tensor> unused(from.begin(), from.end());
  Problems problems;
  std::vector<std::pair<at::Tensor, at::Tensor>> copies;
  for (const auto& [name, tensor] : into) {
    const auto found = unused.extract(name);
    if (found.empty()) {
      problems.push_back("'" + name + "' " + shape_text(tensor.sizes()) + " is missing");
    } else if (found.mapped().sizes() != tensor.sizes()) {
      problems.push_back("'" + name + "' is " + shape_text(found.mapped().sizes()) + ", expected " +
                         shape_text(tensor.sizes()));
    } else if (found.mapped().is_floating_point() != tensor.is_floating_point()) {
      problems.push_back("'" + name + "' is " + dtype_name(found.mapped().scalar_type()) + ", expected " +
                         dtype_name(tensor.scalar_type()));
    } else {
      copies.emplace_back(tensor, found.mapped());
    }
  }
  for (const auto& [name, tensor] : unused) problems.push_back("'" + name + "' is not expected");
  std::string all;
  constexpr size_t kShown = 20;
  for (size_t i = 0; i < std::min(kShown, problems.size()); ++i) all += "\n  " + problems[i];
  if (problems.size() > kShown) all += "\n  and " + std::to_string(problems.size() - kShown) + " more";
  check(problems.empty(), where + " does not fit the network: " + std::to_string(problems.size()) + " problems:" + all);
  const at::NoGradGuard no_grad;
  for (auto& [tensor, source] : copies) tensor.copy_(source);
}

}  // namespace cfm::checkpoint
