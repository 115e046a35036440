#include "data/shard_layout.h"

#include <bit>
#include <cstring>

#include "base/error.h"
#include "base/hash.h"
#include "data/hdf5_id.h"

namespace cfm::data {
namespace {

using std::filesystem::path;

static_assert(std::endian::native == std::endian::little, "labels are hashed as little-endian int64");

std::string dims_text(const std::vector<hsize_t>& dims) {
  std::string text = "(";
  for (size_t i = 0; i < dims.size(); ++i) text += (i > 0 ? "," : "") + std::to_string(dims[i]);
  return text + (dims.size() == 1 ? ",)" : ")");
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

std::string names_in(hid_t file) {
  std::string names;
  const H5L_iterate_t add = [](hid_t, const char* name, const H5L_info_t*, void* out) -> herr_t {
    std::string& all = *static_cast<std::string*>(out);
    if (all.size() < 200) all += (all.empty() ? "" : ", ") + std::string(name);
    return 0;
  };
  H5Literate(file, H5_INDEX_NAME, H5_ITER_INC, nullptr, add, &names);
  return names.empty() ? "nothing" : names;
}

struct NamedDataset {
  std::string where;  // "dataset `imgs` of FILE", for messages
  Hdf5Id id;
  Hdf5Id type;
  std::vector<hsize_t> dims;
};

NamedDataset open_dataset(hid_t file, const path& path, const std::string& name) {
  const std::string where = "dataset `" + name + "` of " + path.string();
  check(H5Lexists(file, name.c_str(), H5P_DEFAULT) > 0,
        path.string() + " has no dataset `" + name + "` (it has: " + names_in(file) +
            "). A shard holds `imgs` and `labels`: write it with cfm_pack.");
  H5L_info_t link;
  check(H5Lget_info(file, name.c_str(), &link, H5P_DEFAULT) >= 0 && link.type == H5L_TYPE_HARD,
        where + " is a link to somewhere else; its data must be in this file.");
  Hdf5Id id(H5Oopen(file, name.c_str(), H5P_DEFAULT), H5Oclose);
  check(id.ok(), where + " cannot be opened: " + hdf5_reason() + ". Copy or pack the file again.");
  check(H5Iget_type(id.get()) == H5I_DATASET, where + " is not a dataset but a group or a type.");
  Hdf5Id type(H5Dget_type(id.get()), H5Tclose);
  const Hdf5Id space(H5Dget_space(id.get()), H5Sclose);
  const int rank = space.ok() ? H5Sget_simple_extent_ndims(space.get()) : -1;
  check(type.ok() && rank >= 0, where + " is damaged: " + hdf5_reason() + ".");
  std::vector<hsize_t> dims(static_cast<size_t>(rank));
  H5Sget_simple_extent_dims(space.get(), dims.data(), nullptr);
  return {where, std::move(id), std::move(type), std::move(dims)};
}

// "chunked (500,3,32,32), deflate"
std::string layout_text(hid_t properties, size_t rank) {
  if (H5Pget_layout(properties) != H5D_CHUNKED)
    return H5Pget_layout(properties) == H5D_COMPACT ? "compact (in the file's metadata)" : "virtual";
  std::vector<hsize_t> chunk(rank);
  H5Pget_chunk(properties, static_cast<int>(rank), chunk.data());
  std::string text = "chunked " + dims_text(chunk);
  for (int i = 0; i < H5Pget_nfilters(properties); ++i) {
    unsigned flags = 0;
    size_t values = 0;
    char name[64] = "";
    const H5Z_filter_t filter =
        H5Pget_filter2(properties, static_cast<unsigned>(i), &flags, &values, nullptr, sizeof name, name, nullptr);
    text += ", filtered by " + (name[0] != 0 ? std::string(name) : "filter " + std::to_string(filter));
  }
  return text;
}

void check_images_shape(const NamedDataset& imgs) {
  check(H5Tget_class(imgs.type.get()) == H5T_INTEGER && H5Tget_size(imgs.type.get()) == 1 &&
            H5Tget_sign(imgs.type.get()) == H5T_SGN_NONE,
        imgs.where + " has type " + type_text(imgs.type.get()) + "; expected uint8.");
  check(imgs.dims.size() == 4,
        imgs.where + " has shape " + dims_text(imgs.dims) + "; expected four dimensions (N,C,H,W).");
  check(imgs.dims[1] == 1 || imgs.dims[1] == 3,
        imgs.where + " has shape " + dims_text(imgs.dims) + "; expected (N,C,H,W) with C = 1 or 3" +
            (imgs.dims[3] == 1 || imgs.dims[3] == 3 ? ". It looks like (N,H,W,C)." : "."));
  check(imgs.dims[0] > 0 && imgs.dims[2] > 0 && imgs.dims[3] > 0,
        imgs.where + " has shape " + dims_text(imgs.dims) + ": there is nothing in it.");
}

// Offset of the data in the file. libhdf5 1.10.8 reports offset 4095 for a dataset that was never written in a file
// with a userblock of 4096 bytes, so the status of the space is asked for first.
uint64_t contiguous_offset(const NamedDataset& imgs, uint64_t bytes, uint64_t file_bytes) {
  const Hdf5Id properties(H5Dget_create_plist(imgs.id.get()), H5Pclose);
  check(properties.ok(), imgs.where + " is damaged: " + hdf5_reason() + ".");
  check(H5Pget_layout(properties.get()) == H5D_CONTIGUOUS,
        imgs.where + " is stored " + layout_text(properties.get(), imgs.dims.size()) +
            "; expected contiguous and unfiltered. Convert it: h5repack -l CONTI -f NONE IN.h5 OUT.h5");
  check(H5Pget_external_count(properties.get()) == 0,
        imgs.where + " keeps its data in another file; expected it inside. Convert it: h5repack IN.h5 OUT.h5");
  H5D_space_status_t status = H5D_SPACE_STATUS_NOT_ALLOCATED;
  check(H5Dget_space_status(imgs.id.get(), &status) >= 0 && status == H5D_SPACE_STATUS_ALLOCATED,
        imgs.where + " was declared but never written. Pack it again.");
  const haddr_t offset = H5Dget_offset(imgs.id.get());
  check(offset != HADDR_UNDEF && H5Dget_storage_size(imgs.id.get()) == bytes,
        imgs.where + " holds " + std::to_string(H5Dget_storage_size(imgs.id.get())) + " bytes; its shape " +
            dims_text(imgs.dims) + " needs " + std::to_string(bytes) + ". Pack it again.");
  check(offset <= file_bytes && bytes <= file_bytes - offset,
        imgs.where + " is truncated: it takes bytes " + std::to_string(offset) + " to " +
            std::to_string(offset + bytes) + ", the file ends at " + std::to_string(file_bytes) +
            ". Copy or pack the file again.");
  return offset;
}

std::vector<int64_t> read_labels(hid_t file, const path& path, int64_t images) {
  const NamedDataset labels = open_dataset(file, path, kLabelsName);
  check(H5Tget_class(labels.type.get()) == H5T_INTEGER,
        labels.where + " has type " + type_text(labels.type.get()) + "; expected int64 or another integer.");
  check(labels.dims.size() == 1, labels.where + " has shape " + dims_text(labels.dims) + "; expected (N,).");
  check(labels.dims[0] == static_cast<hsize_t>(images), labels.where + " has " + std::to_string(labels.dims[0]) +
                                                            " labels for " + std::to_string(images) +
                                                            " images in `imgs`; expected as many labels as images.");
  H5D_space_status_t status = H5D_SPACE_STATUS_NOT_ALLOCATED;
  check(H5Dget_space_status(labels.id.get(), &status) >= 0 && status != H5D_SPACE_STATUS_NOT_ALLOCATED,
        labels.where + " was declared but never written. Pack it again.");
  std::vector<int64_t> values(static_cast<size_t>(images));
  check(H5Dread(labels.id.get(), H5T_NATIVE_INT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()) >= 0,
        labels.where + " cannot be read: " + hdf5_reason() + ".");
  for (size_t i = 0; i < values.size(); ++i)
    if (values[i] < 0)
      throw Error(labels.where + ": label " + std::to_string(i) + " is " + std::to_string(values[i]) +
                  "; expected 0 or more.");
  return values;
}

std::vector<std::string> read_hashes(hid_t file, const path& path, int64_t images) {
  if (H5Lexists(file, kHashesName, H5P_DEFAULT) <= 0) return {};
  const NamedDataset hashes = open_dataset(file, path, kHashesName);
  const auto blocks = static_cast<hsize_t>(block_count(images));
  check(H5Tget_class(hashes.type.get()) == H5T_STRING && H5Tis_variable_str(hashes.type.get()) == 0 &&
            H5Tget_size(hashes.type.get()) == 32 && hashes.dims == std::vector<hsize_t>{blocks},
        hashes.where + " is " + type_text(hashes.type.get()) + " " + dims_text(hashes.dims) +
            "; expected strings of 32 hex digits, one for every " + std::to_string(kBlockImages) + " images: (" +
            std::to_string(blocks) + ",).");
  std::string text(32 * blocks, '\0');
  check(H5Dread(hashes.id.get(), hashes.type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, text.data()) >= 0,
        hashes.where + " cannot be read: " + hdf5_reason() + ".");
  std::vector<std::string> values;
  for (size_t i = 0; i < blocks; ++i) values.push_back(text.substr(32 * i, 32));
  return values;
}

// The text of a scalar string attribute; empty for any other attribute.
std::string attribute_text(hid_t attribute) {
  const Hdf5Id type(H5Aget_type(attribute), H5Tclose);
  const Hdf5Id space(H5Aget_space(attribute), H5Sclose);
  if (!type.ok() || !space.ok() || H5Tget_class(type.get()) != H5T_STRING ||
      H5Sget_simple_extent_npoints(space.get()) != 1)
    return {};
  if (H5Tis_variable_str(type.get()) > 0) {
    char* value = nullptr;
    if (H5Aread(attribute, type.get(), &value) < 0 || value == nullptr) return {};
    std::string text = value;
    H5free_memory(value);
    return text;
  }
  std::string text(H5Tget_size(type.get()), '\0');
  if (H5Aread(attribute, type.get(), text.data()) < 0) return {};
  return text.substr(0, std::min(text.find('\0'), text.size()));
}

std::map<std::string, std::string> read_attributes(hid_t file) {
  std::map<std::string, std::string> attributes;
  const H5A_operator2_t add = [](hid_t object, const char* name, const H5A_info_t*, void* out) -> herr_t {
    const Hdf5Id attribute(H5Aopen(object, name, H5P_DEFAULT), H5Aclose);
    if (attribute.ok())
      static_cast<std::map<std::string, std::string>*>(out)->emplace(name, attribute_text(attribute.get()));
    return 0;
  };
  H5Aiterate2(file, H5_INDEX_NAME, H5_ITER_INC, nullptr, add, &attributes);
  return attributes;
}

ShardLayout::Probe read_probe(const NamedDataset& imgs, int64_t image) {
  std::vector<hsize_t> start(4, 0), count = imgs.dims;
  start[0] = static_cast<hsize_t>(image);
  count[0] = 1;
  ShardLayout::Probe probe{image, std::vector<uint8_t>(count[1] * count[2] * count[3])};
  const Hdf5Id all(H5Dget_space(imgs.id.get()), H5Sclose);
  const Hdf5Id one(H5Screate_simple(4, count.data(), nullptr), H5Sclose);
  check(H5Sselect_hyperslab(all.get(), H5S_SELECT_SET, start.data(), nullptr, count.data(), nullptr) >= 0 &&
            H5Dread(imgs.id.get(), H5T_NATIVE_UINT8, one.get(), all.get(), H5P_DEFAULT, probe.pixels.data()) >= 0,
        imgs.where + ": image " + std::to_string(image) + " cannot be read: " + hdf5_reason() + ".");
  return probe;
}

// Without file locks: they fail on parallel file systems, and nothing writes a shard that stands under its name.
Hdf5Id open_file(const path& path) {
  const htri_t is_hdf5 = H5Fis_hdf5(path.c_str());
  check(is_hdf5 > 0,
        path.string() + " is not an HDF5 file: its signature is missing. Expected a shard written by cfm_pack.");
  const Hdf5Id access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  H5Pset_file_locking(access.get(), false, true);
  Hdf5Id file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.get()), H5Fclose);
  check(file.ok(), path.string() + " cannot be opened by libhdf5: " + hdf5_reason() + ". Copy or pack the file again.");
  return file;
}

void check_attributes(const ShardLayout& layout, const path& path) {
  const auto version = layout.attributes.find(kVersionName);
  check(version == layout.attributes.end() || version->second == kFormatVersion,
        path.string() + " has format_version " + (version == layout.attributes.end() ? "" : version->second) +
            "; this program reads " + kFormatVersion + ". Use the release that wrote it, or pack it again.");
  const auto hash = layout.attributes.find(kLabelsHashName);
  check(hash == layout.attributes.end() ||
            hash->second == xxh3_128_hex(layout.labels.data(), layout.labels.size() * sizeof(int64_t)),
        "dataset `labels` of " + path.string() +
            " is damaged: its hash is not the one in the file. Copy or pack it again.");
}

}  // namespace

ShardLayout read_layout(const path& path, uint64_t file_bytes) {
  const SilentHdf5 silent;
  const Hdf5Id file = open_file(path);
  const NamedDataset imgs = open_dataset(file.get(), path, kImagesName);
  check_images_shape(imgs);
  uint64_t bytes = 1;
  for (const hsize_t dim : imgs.dims)
    check(!__builtin_mul_overflow(bytes, dim, &bytes) && bytes <= uint64_t{1} << 62,
          imgs.where + " has the impossible shape " + dims_text(imgs.dims) + ".");

  ShardLayout layout;
  layout.images = static_cast<int64_t>(imgs.dims[0]);
  layout.shape = {static_cast<int64_t>(imgs.dims[1]), static_cast<int64_t>(imgs.dims[2]),
                  static_cast<int64_t>(imgs.dims[3])};
  layout.offset = contiguous_offset(imgs, bytes, file_bytes);
  layout.labels = read_labels(file.get(), path, layout.images);
  layout.block_hashes = read_hashes(file.get(), path, layout.images);
  layout.attributes = read_attributes(file.get());
  check_attributes(layout, path);
  for (const int64_t image : {int64_t{0}, layout.images / 2, layout.images - 1})
    layout.probes.push_back(read_probe(imgs, image));
  return layout;
}

}  // namespace cfm::data
