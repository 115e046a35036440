#pragma once
// Arrays of .npy and .npz files whose bytes stay where they are, whatever their size.

#include <filesystem>
#include <string>
#include <vector>

#include "data/byte_source.h"
#include "data/npy_header.h"

namespace cfm::data {

struct ArrayFile {
  std::string key = "";  // of a .npz
  std::string type = "";
  std::vector<int64_t> shape = {};
  bool fortran_order = false;
  bool spooled = false;   // into a temporary file: it was deflated, and large
  ByteSource bytes = {};  // the elements
};

// The array in `file`, whose data must be as long as its shape says; types that are not integers are not checked for
// length.
ArrayFile array_in(const ByteSource& file);

ArrayFile open_npy(const std::filesystem::path& npy);

// The arrays of a .npz by name, in its order: type and shape only; `bytes` is empty.
std::vector<ArrayFile> list_npz(const std::filesystem::path& npz);

// One array. If it is stored as it is (numpy.savez) its bytes stay in the .npz; with `verify` they are read once and
// compared with the archive's checksum. If it is deflated (savez_compressed) it is inflated, once and checked, into a
// temporary file in `spool_folder`. Error naming array and file if either fails.
ArrayFile open_npz(const std::filesystem::path& npz, const std::string& key, const std::filesystem::path& spool_folder,
                   bool verify);

}  // namespace cfm::data
