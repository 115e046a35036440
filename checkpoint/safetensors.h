#pragma once
// The safetensors format: 8 bytes header length (little-endian), JSON header, raw tensor bytes. No code, no pickles.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace cfm::checkpoint {

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;
using Metadata = std::map<std::string, std::string>;

// Size and XXH3-128 of each kHashBlock bytes of a file, as the manifest records them.
inline constexpr int64_t kHashBlock = 64 << 20;
struct FileRecord {
  std::string name;
  int64_t bytes = 0;
  std::vector<std::string> block_hashes;
};

// Writes tensors (any memory format; stored C-contiguous, moved to the CPU) and metadata, fsynced. Hashes while
// writing.
FileRecord write_safetensors(const std::filesystem::path& path, const NamedTensors& tensors, const Metadata& metadata);

struct SafetensorsFile {
  Metadata metadata;
  NamedTensors tensors;  // CPU, in the file's order of offsets
};

// Error names the file and what is wrong: a truncated file, a header that is not JSON or over 100 MB, offsets outside
// the file, overlapping or of another size than dtype and shape give, an unknown dtype.
SafetensorsFile read_safetensors(const std::filesystem::path& path);
Metadata read_safetensors_metadata(const std::filesystem::path& path);

// XXH3-128 of a whole file.
std::string file_hash(const std::filesystem::path& path);

// Error(kWontWork) naming the file, the first block that differs, and both hashes, unless the file is as recorded.
void verify_file(const std::filesystem::path& path, const FileRecord& record);

// Copies file tensors into `into` by name. Error lists names that are missing, unexpected, or of another shape.
void load_tensors(const NamedTensors& from, const NamedTensors& into, const std::string& where);

}  // namespace cfm::checkpoint
