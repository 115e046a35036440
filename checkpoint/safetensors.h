#pragma once
// The safetensors format: 8 bytes header length (little-endian), JSON header, raw tensor bytes. No code, no pickles.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace cfm::checkpoint {

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;
using Metadata = std::map<std::string, std::string>;

// Size and XXH3-128 of each kHashBlock bytes of a file, as the manifest records them.
struct FileRecord {
  std::string name;
  int64_t bytes = 0;
  std::vector<std::string> block_hashes;
};

// What stands in a file before the tensors' bytes: the header's length, and the header.
std::string safetensors_head(const NamedTensors& tensors, const Metadata& metadata);

// Hands over the bytes of a file of these tensors (any memory format; stored C-contiguous, moved to the CPU) and
// metadata, from the first to the last: the head, then a tensor at a time. They are valid during the call.
void for_each_piece(const NamedTensors& tensors, const Metadata& metadata,
                    const std::function<void(const void* bytes, int64_t size)>& take);

// Writes that file, fsynced. Hashes while writing.
FileRecord write_safetensors(const std::filesystem::path& path, const NamedTensors& tensors, const Metadata& metadata);

struct SafetensorsFile {
  Metadata metadata;
  NamedTensors tensors;  // CPU, in the file's order of offsets
};

// Error(kWontWork) names the file and what is wrong: a truncated file, a header that is not JSON or over 100 MB,
// offsets outside the file, overlapping or of another size than dtype and shape give, an unknown dtype. Error(kRetry)
// if it cannot be read for now (checkpoint/input_file.h), here and below.
SafetensorsFile read_safetensors(const std::filesystem::path& path);
Metadata read_safetensors_metadata(const std::filesystem::path& path);

// XXH3-128 of a whole file.
std::string file_hash(const std::filesystem::path& path);

// Error(kWontWork) naming the file, the first block that differs, and both hashes, unless the file is as recorded.
void verify_file(const std::filesystem::path& path, const FileRecord& record);

// Copies file tensors into `into` by name. Error lists names that are missing, unexpected, or of another shape.
void load_tensors(const NamedTensors& from, const NamedTensors& into, const std::string& where);

}  // namespace cfm::checkpoint
