#pragma once
// numpy's .npy and .npz, whole and in memory, as far as images and labels need them: C-order, little-endian integers;
// written are "<f4" and "<f8" too.
// Files of any size: array_file.h.

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace cfm::data {

struct NumpyArray {
  std::string type;  // "|u1", "<i8", ...
  std::vector<int64_t> shape;
  std::vector<uint8_t> bytes;
  std::vector<int64_t> as_int64() const;
};

// Error names the file, what was found (dtype, Fortran order, truncation) and what is read.
NumpyArray read_npy(const std::filesystem::path& path);
std::map<std::string, NumpyArray> read_npz(const std::filesystem::path& path);

// Stored, not deflated: `numpy.load` reads it, and so does ADM's evaluator (array `arr_0`, labels `arr_1`).
void write_npz(const std::filesystem::path& path, const std::map<std::string, NumpyArray>& arrays);

}  // namespace cfm::data
