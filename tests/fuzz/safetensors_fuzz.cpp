// libFuzzer: any bytes are a safetensors file or a cfm::Error; its tensors are the bytes behind its header, and what is
// written of them reads back as the same. A weights file's description of a network is one that may be made, or an
// Error.

#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/safetensors_header.h"
#include "models/unet.h"

namespace {

// A file in memory, with a path.
const std::string& path_of(const uint8_t* bytes, size_t size) {
  static const int file = memfd_create("input", 0);
  static const std::string path = "/proc/self/fd/" + std::to_string(file);
  if (file < 0 || ftruncate(file, 0) != 0 || pwrite(file, bytes, size, 0) != static_cast<ssize_t>(size)) std::abort();
  return path;
}

void describe(const cfm::checkpoint::Metadata& metadata) {
  constexpr std::string_view kModel = "model.";
  std::map<std::string, std::string> fields;
  for (const auto& [key, value] : metadata)
    if (key.starts_with(kModel)) fields[key.substr(kModel.size())] = value;
  try {
    const cfm::models::UNetConfig config = cfm::models::unet_config_from_metadata(fields);
    if (!config.validate().empty()) return;
    if (cfm::models::to_metadata(cfm::models::unet_config_from_metadata(to_metadata(config))) != to_metadata(config))
      std::abort();
  } catch (const cfm::Error&) {
  }
}

void expect_same_when_written(const cfm::checkpoint::SafetensorsFile& file) {
  size_t bytes = 0;
  for (const auto& [name, tensor] : file.tensors) bytes += tensor.nbytes();
  const std::string head = cfm::checkpoint::safetensors_head(file.tensors, file.metadata);
  const auto again = cfm::checkpoint::parse_header(head.substr(8), static_cast<int64_t>(bytes), "written again");
  if (again.metadata != file.metadata || again.tensors.size() != file.tensors.size()) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  try {
    const cfm::checkpoint::SafetensorsFile file = cfm::checkpoint::read_safetensors(path_of(bytes, size));
    size_t of_tensors = 0;
    for (const auto& [name, tensor] : file.tensors) {
      if (static_cast<size_t>(tensor.numel()) * tensor.element_size() != tensor.nbytes()) std::abort();
      of_tensors += tensor.nbytes();
    }
    if (of_tensors > size - 8) std::abort();
    expect_same_when_written(file);
    describe(file.metadata);
  } catch (const cfm::Error&) {
  }
  return 0;
}
