#include "data/hdf5_dataset.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace cfm::data {
namespace {

using std::filesystem::path;

std::string names_in(hid_t file) {
  std::string names;
  const H5L_iterate_t add = [](hid_t, const char* name, const H5L_info_t*, void* out) -> herr_t {
    std::string& all = *static_cast<std::string*>(out);
    if (all.size() < 200) all += (all.empty() ? "" : ", ") + printable(name);
    return 0;
  };
  H5Literate(file, H5_INDEX_NAME, H5_ITER_INC, nullptr, add, &names);
  return names.empty() ? "nothing" : names;
}

}  // namespace

std::string printable(std::string text) {
  std::ranges::replace_if(
      text, [](unsigned char c) { return c < 32 || c > 126; }, '?');
  return text;
}

std::string type_text(hid_t type) {
  const std::string bits = std::to_string(8 * H5Tget_size(type));
  switch (H5Tget_class(type)) {
    case H5T_INTEGER:
      return (H5Tget_sign(type) == H5T_SGN_NONE ? "uint" : "int") + bits;
    case H5T_FLOAT:
      return "float" + bits;
    case H5T_STRING:
      return "string";
    case H5T_VLEN:
      return "variable-length";
    case H5T_COMPOUND:
      return "compound";
    default:
      return "neither integer nor float";
  }
}

bool has(hid_t file, const char* name) { return H5Lexists(file, name, H5P_DEFAULT) > 0; }

NamedDataset open_dataset(hid_t file, const path& path, const std::string& name, hid_t access) {
  const std::string where = "dataset `" + name + "` of " + path.string();
  check(has(file, name.c_str()), path.string() + " has no dataset `" + name + "` (it has: " + names_in(file) +
                                     "). A shard holds `imgs` and `labels`: write it with cfm_pack.");
  H5L_info_t link;
  check(H5Lget_info(file, name.c_str(), &link, H5P_DEFAULT) >= 0 && link.type == H5L_TYPE_HARD,
        where + " is a link to somewhere else; its data must be in this file.");
  H5O_info_t object;
  check(H5Oget_info_by_name2(file, name.c_str(), &object, H5O_INFO_BASIC, H5P_DEFAULT) >= 0,
        where + " cannot be opened: " + hdf5_reason() + ". Copy or pack the file again.");
  check(object.type == H5O_TYPE_DATASET, where + " is not a dataset but a group or a type.");
  Hdf5Id id(H5Dopen2(file, name.c_str(), access), H5Dclose);
  check(id.ok(), where + " cannot be opened: " + hdf5_reason() + ". Copy or pack the file again.");
  Hdf5Id type(H5Dget_type(id.get()), H5Tclose);
  const Hdf5Id space(H5Dget_space(id.get()), H5Sclose);
  const int rank = space.ok() ? H5Sget_simple_extent_ndims(space.get()) : -1;
  check(type.ok() && rank >= 0, where + " is damaged: " + hdf5_reason() + ".");
  std::vector<hsize_t> dims(static_cast<size_t>(rank));
  H5Sget_simple_extent_dims(space.get(), dims.data(), nullptr);
  return {where, std::move(id), std::move(type), std::move(dims)};
}

Hdf5Id open_hdf5_file(const path& path) {
  const htri_t is_hdf5 = H5Fis_hdf5(path.c_str());
  check(is_hdf5 > 0,
        path.string() + " is not an HDF5 file: its signature is missing. Expected a shard written by cfm_pack.");
  const Hdf5Id access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  H5Pset_file_locking(access.get(), false, true);
  Hdf5Id file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.get()), H5Fclose);
  check(file.ok(), path.string() + " cannot be opened by libhdf5: " + hdf5_reason() + ". Copy or pack the file again.");
  return file;
}

uint64_t image_bytes(const std::vector<hsize_t>& dims) {
  uint64_t bytes = 1;
  for (size_t i = 1; i < dims.size(); ++i)
    if (__builtin_mul_overflow(bytes, dims[i], &bytes) || bytes > uint64_t{1} << 31) return 0;
  return bytes;
}

void read_images(const NamedDataset& imgs, uint64_t first, uint64_t count, uint8_t* out) {
  std::vector<hsize_t> start(imgs.dims.size(), 0), extent = imgs.dims;
  start[0] = first;
  extent[0] = count;
  const Hdf5Id all(H5Dget_space(imgs.id.get()), H5Sclose);
  const Hdf5Id some(H5Screate_simple(static_cast<int>(extent.size()), extent.data(), nullptr), H5Sclose);
  check(H5Sselect_hyperslab(all.get(), H5S_SELECT_SET, start.data(), nullptr, extent.data(), nullptr) >= 0 &&
            H5Dread(imgs.id.get(), H5T_NATIVE_UINT8, some.get(), all.get(), H5P_DEFAULT, out) >= 0,
        imgs.where + ": images from " + std::to_string(first) + " on cannot be read: " + hdf5_reason() + ".");
}

}  // namespace cfm::data
