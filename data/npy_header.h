#pragma once
// The header of a .npy file: type, shape and where the data begins.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data/byte_source.h"

namespace cfm::data {

struct NpyHeader {
  std::string type;  // "|u1", "<i8", "<f8"; "a structure" for what has fields
  bool fortran_order = false;
  std::vector<int64_t> shape;
  uint64_t bytes = 0;  // of the header: the data begins behind it
};

// Of any type. Error naming `file` if it is no .npy, or its header is damaged.
NpyHeader read_npy_header(const ByteSource& file);

// "uint8", "int32", "float64"; the type itself if it is no plain number.
std::string type_name(const std::string& type);

// Bytes of an element of a little-endian integer type (of 1, 2, 4 or 8 bytes); 0 for any other.
size_t integer_bytes(std::string_view type);

// Elements of that type as int64, in order. Error if one does not fit (a "<u8" of 2^63 and more).
std::vector<int64_t> integers(std::string_view type, std::string_view bytes);

// "(50000,3,32,32)"
std::string shape_text(const std::vector<int64_t>& shape);

// Bytes of an array of `item` bytes an element; Error naming `name` if that is more than 2^63.
uint64_t array_bytes(const std::vector<int64_t>& shape, size_t item, const std::string& name);

}  // namespace cfm::data
