#pragma once
// The JSON header of a safetensors file, as text and back.

#include <c10/core/ScalarType.h>

#include <cstdint>
#include <string>
#include <vector>

#include "checkpoint/safetensors.h"

namespace cfm::checkpoint {

inline constexpr int64_t kLargestHeader = 100'000'000;  // as in the reference implementation

struct TensorEntry {
  std::string name;
  c10::ScalarType type;
  std::vector<int64_t> shape;
  int64_t begin = 0, end = 0;  // bytes of the data, which starts behind the header
};

struct SafetensorsHeader {
  Metadata metadata;
  std::vector<TensorEntry> tensors;  // ascending offsets, without holes or overlaps
};

// JSON, padded with spaces so that the data behind the 8-byte length is aligned to 8 bytes.
std::string header_text(const SafetensorsHeader& header);

// Error names `where` and what is wrong. `data_bytes`: what the file has behind the header.
SafetensorsHeader parse_header(const std::string& text, int64_t data_bytes, const std::string& where);

// "F32" for kFloat, ...; Error lists the types that are known.
std::string dtype_name(c10::ScalarType type);

}  // namespace cfm::checkpoint
