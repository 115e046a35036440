#pragma once
// A dataset of a file that libhdf5 has open, by name. Private to data/.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/hdf5_id.h"

namespace cfm::data {

struct NamedDataset {
  std::string where;  // "dataset `imgs` of FILE", for messages
  Hdf5Id id;
  Hdf5Id type;
  std::vector<hsize_t> dims;
};

// For reading, without file locks: they fail on parallel file systems, and nothing writes a shard that stands under its
// name. Error naming the file.
Hdf5Id open_hdf5_file(const std::filesystem::path& path);

bool has(hid_t file, const char* name);

// Error naming the dataset and the file: there is none (and what there is), it is a link, a group, or damaged.
// `access`: a dataset access list, or H5P_DEFAULT.
NamedDataset open_dataset(hid_t file, const std::filesystem::path& path, const std::string& name,
                          hid_t access = H5P_DEFAULT);

// "uint8", "float32", "string"
std::string type_text(hid_t type);

// A damaged file may give any bytes as a name: those that cannot be printed become question marks.
std::string printable(std::string text);

// Bytes of one image as declared; 0 if that is not a size.
uint64_t image_bytes(const std::vector<hsize_t>& dims);

// Images first .. first + count - 1 into `out`, by libhdf5.
void read_images(const NamedDataset& imgs, uint64_t first, uint64_t count, uint8_t* out);

}  // namespace cfm::data
