#include "data/file_facts.h"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include "base/error.h"
#include "base/hash.h"
#include "data/hdf5_id.h"

namespace cfm::data {
namespace {

using std::filesystem::path;

static_assert(std::endian::native == std::endian::little, "labels are hashed as little-endian int64");

// libhdf5 finds the address of a chunk in a time that grows with their number, so beyond this one pass is quicker.
constexpr uint64_t kListedChunks = 20'000;

// Names under which people keep images and labels.
constexpr std::array<std::pair<const char*, const char*>, 5> kNames{
    {{kImagesName, kLabelsName}, {"images", "labels"}, {"data", "labels"}, {"X", "y"}, {"x", "y"}}};

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

// A damaged file may give any bytes as a name.
std::string printable(std::string text) {
  std::ranges::replace_if(
      text, [](unsigned char c) { return c < 32 || c > 126; }, '?');
  return text;
}

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

bool has(hid_t file, const char* name) { return H5Lexists(file, name, H5P_DEFAULT) > 0; }

struct NamedDataset {
  std::string where;  // "dataset `imgs` of FILE", for messages
  Hdf5Id id;
  Hdf5Id type;
  std::vector<hsize_t> dims;
};

// `access`: a dataset access list, or H5P_DEFAULT.
NamedDataset open_dataset(hid_t file, const path& path, const std::string& name, hid_t access = H5P_DEFAULT) {
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

std::pair<std::string, std::string> names_of(hid_t file, const path& path) {
  check(!has(file, "encoded_images"), path.string() +
                                          " holds encoded pictures (`encoded_images`, as Fuel writes them); expected "
                                          "pixels. Unpack the pictures into a folder and pack that.");
  for (const auto& [images, labels] : kNames)
    if (has(file, images) && has(file, labels)) return {images, labels};
  for (const auto& [images, labels] : kNames)
    if (has(file, images)) return {images, labels};
  return {kImagesName, kLabelsName};  // which then is missed by name
}

std::vector<std::string> filters_of(hid_t properties, const std::string& where) {
  std::vector<std::string> filters;
  for (int i = 0; i < H5Pget_nfilters(properties); ++i) {
    unsigned flags = 0;
    size_t values = 0;
    char name[64] = "";
    const H5Z_filter_t filter =
        H5Pget_filter2(properties, static_cast<unsigned>(i), &flags, &values, nullptr, sizeof name, name, nullptr);
    const bool at_hand = H5Zfilter_avail(filter) > 0;
    const std::string text = name[0] != 0 ? printable(name) : "filter " + std::to_string(filter);
    check(at_hand, where + " is compressed by " + text +
                       ", which this libhdf5 cannot undo. Where it can be read (h5py has lzf), write it again without: "
                       "out.create_dataset(name, data=in[name])");
    filters.push_back(filter == H5Z_FILTER_DEFLATE ? "gzip" : text);
  }
  return filters;
}

// Whether all of a dataset has its place in the file. What never got one reads as zeros. (The status of the space says
// "partly" of whatever compression made smaller, so chunks are counted.)
bool is_written(const NamedDataset& dataset, hid_t properties) {
  H5D_space_status_t status = H5D_SPACE_STATUS_NOT_ALLOCATED;
  if (H5Dget_space_status(dataset.id.get(), &status) < 0 || status == H5D_SPACE_STATUS_NOT_ALLOCATED) return false;
  if (H5Pget_layout(properties) != H5D_CHUNKED) return status == H5D_SPACE_STATUS_ALLOCATED;
  std::vector<hsize_t> chunk(dataset.dims.size());
  if (H5Pget_chunk(properties, static_cast<int>(chunk.size()), chunk.data()) < 0) return false;
  hsize_t expected = 1, written = 0;
  for (size_t i = 0; i < chunk.size(); ++i) {
    if (chunk[i] == 0 || __builtin_mul_overflow(expected, (dataset.dims[i] + chunk[i] - 1) / chunk[i], &expected))
      return false;
  }
  const Hdf5Id space(H5Dget_space(dataset.id.get()), H5Sclose);
  return H5Dget_num_chunks(dataset.id.get(), space.get(), &written) >= 0 && written == expected;
}

// Where each chunk of whole images lies, by the images it holds. libhdf5 counts from behind the userblock here, but not
// for contiguous datasets.
std::vector<uint64_t> chunk_offsets(const NamedDataset& imgs, const FileFacts& facts) {
  std::vector<uint64_t> offsets;
  for (uint64_t first = 0; first < facts.shape[0]; first += facts.chunk[0]) {
    std::vector<hsize_t> start(imgs.dims.size(), 0);
    start[0] = first;
    unsigned mask = 0;
    haddr_t address = HADDR_UNDEF;
    hsize_t size = 0;
    check(H5Dget_chunk_info_by_coord(imgs.id.get(), start.data(), &mask, &address, &size) >= 0 &&
              address != HADDR_UNDEF && size > 0,
          imgs.where + ": the chunk of image " + std::to_string(first) + " was never written. Pack it again.");
    offsets.push_back(address + facts.userblock);
  }
  return offsets;
}

void read_chunks(const NamedDataset& imgs, hid_t properties, FileFacts& facts) {
  std::vector<hsize_t> chunk(imgs.dims.size());
  check(H5Pget_chunk(properties, static_cast<int>(chunk.size()), chunk.data()) == static_cast<int>(chunk.size()),
        imgs.where + " is damaged: " + hdf5_reason() + ".");
  facts.chunk.assign(chunk.begin(), chunk.end());
  facts.filters = filters_of(properties, imgs.where);
  facts.chunks = 1;
  for (size_t i = 0; i < imgs.dims.size() && facts.chunks != 0; ++i) {
    const uint64_t along = facts.chunk[i] == 0 ? 0 : (imgs.dims[i] + facts.chunk[i] - 1) / facts.chunk[i];
    if (__builtin_mul_overflow(facts.chunks, along, &facts.chunks)) facts.chunks = 0;
  }
  const bool whole = std::equal(facts.chunk.begin() + 1, facts.chunk.end(), imgs.dims.begin() + 1, imgs.dims.end());
  if (facts.filters.empty() && whole && facts.chunks > 0 && facts.chunks <= kListedChunks)
    facts.chunk_offsets = chunk_offsets(imgs, facts);
}

// libhdf5 1.10.8 reports offset 4095 for a dataset that was never written in a file with a userblock of 4096 bytes, so
// the status of the space is asked for too.
void read_storage(const NamedDataset& imgs, FileFacts& facts) {
  const Hdf5Id properties(H5Dget_create_plist(imgs.id.get()), H5Pclose);
  check(properties.ok(), imgs.where + " is damaged: " + hdf5_reason() + ".");
  facts.allocated = is_written(imgs, properties.get());
  facts.external = H5Pget_external_count(properties.get()) > 0;
  facts.storage_bytes = H5Dget_storage_size(imgs.id.get());
  switch (H5Pget_layout(properties.get())) {
    case H5D_CONTIGUOUS: {
      facts.storage = Storage::kContiguous;
      const haddr_t offset = H5Dget_offset(imgs.id.get());
      facts.allocated = facts.allocated && (offset != HADDR_UNDEF || facts.external);
      facts.offset = offset;
      return;
    }
    case H5D_CHUNKED:
      facts.storage = Storage::kChunked;
      if (facts.allocated && !imgs.dims.empty()) read_chunks(imgs, properties.get(), facts);
      return;
    case H5D_COMPACT:
      facts.storage = Storage::kCompact;
      return;
    default:
      facts.storage = Storage::kVirtual;
  }
}

void read_labels(const NamedDataset& labels, uint64_t images, FileFacts& facts) {
  facts.labels_shape.assign(labels.dims.begin(), labels.dims.end());
  check(H5Tget_class(labels.type.get()) == H5T_INTEGER,
        labels.where + " has type " + type_text(labels.type.get()) + "; expected int64 or another integer.");
  const bool flat = labels.dims.size() == 1 || (labels.dims.size() == 2 && labels.dims[1] == 1);
  if (!flat || labels.dims[0] != images || images > facts.file_bytes) return;  // the plan refuses it
  const Hdf5Id properties(H5Dget_create_plist(labels.id.get()), H5Pclose);
  check(properties.ok() && is_written(labels, properties.get()),
        labels.where + " was declared but never written, or only partly. Pack it again.");
  facts.labels.resize(images);
  check(H5Dread(labels.id.get(), H5T_NATIVE_INT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, facts.labels.data()) >= 0,
        labels.where + " cannot be read: " + hdf5_reason() + ".");
}

std::vector<std::string> read_hashes(hid_t file, const path& path, uint64_t images) {
  if (!has(file, kHashesName)) return {};
  const NamedDataset hashes = open_dataset(file, path, kHashesName);
  const hsize_t blocks = (images + kBlockImages - 1) / kBlockImages;
  check(H5Tget_class(hashes.type.get()) == H5T_STRING && H5Tis_variable_str(hashes.type.get()) == 0 &&
            H5Tget_size(hashes.type.get()) == 32 && hashes.dims == std::vector<hsize_t>{blocks},
        hashes.where + " is " + type_text(hashes.type.get()) + "; expected strings of 32 hex digits, one for every " +
            std::to_string(kBlockImages) + " images: (" + std::to_string(blocks) + ",).");
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

// Bytes of one image as declared; 0 if that is not a size.
uint64_t image_bytes(const std::vector<hsize_t>& dims) {
  uint64_t bytes = 1;
  for (size_t i = 1; i < dims.size(); ++i)
    if (__builtin_mul_overflow(bytes, dims[i], &bytes) || bytes > uint64_t{1} << 31) return 0;
  return bytes;
}

// Images first .. first + count - 1 into `out`.
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

std::vector<FileFacts::Probe> read_probes(const NamedDataset& imgs, const FileFacts& facts) {
  const uint64_t bytes = image_bytes(imgs.dims);
  if (!facts.allocated || facts.external || facts.images_type != "uint8" || imgs.dims.size() < 2 || bytes == 0 ||
      imgs.dims[0] == 0)
    return {};  // the plan refuses it
  std::vector<FileFacts::Probe> probes;
  std::vector<uint8_t> pixels(bytes);
  for (const uint64_t image : {uint64_t{0}, uint64_t{imgs.dims[0] / 2}, uint64_t{imgs.dims[0] - 1}}) {
    read_images(imgs, image, 1, pixels.data());
    probes.push_back({static_cast<int64_t>(image), xxh3_128_hex(pixels.data(), pixels.size())});
  }
  return probes;
}

}  // namespace

FileFacts read_facts(const path& path) {
  std::error_code error;
  FileFacts facts;
  const auto status = std::filesystem::status(path, error);
  check(std::filesystem::exists(status), "cannot open " + path.string() + ": No such file or directory");
  check(std::filesystem::is_regular_file(status), path.string() + " is not a regular file; expected an HDF5 shard.");
  facts.file_bytes = std::filesystem::file_size(path);
  check(facts.file_bytes > 0, path.string() + " is empty (0 bytes); expected an HDF5 shard. Copy or pack it again.");
  const SilentHdf5 silent;
  const Hdf5Id file = open_file(path);
  const Hdf5Id creation(H5Fget_create_plist(file.get()), H5Pclose);
  hsize_t userblock = 0;
  check(creation.ok() && H5Pget_userblock(creation.get(), &userblock) >= 0,
        path.string() + " is damaged: " + hdf5_reason() + ".");
  facts.userblock = userblock;
  std::tie(facts.images_name, facts.labels_name) = names_of(file.get(), path);
  const NamedDataset imgs = open_dataset(file.get(), path, facts.images_name);
  facts.images_type = type_text(imgs.type.get());
  facts.shape.assign(imgs.dims.begin(), imgs.dims.end());
  read_storage(imgs, facts);
  const uint64_t images = facts.shape.empty() ? 0 : facts.shape[0];
  read_labels(open_dataset(file.get(), path, facts.labels_name), images, facts);
  if (images <= facts.file_bytes) facts.block_hashes = read_hashes(file.get(), path, images);
  facts.attributes = read_attributes(file.get());
  facts.probes = read_probes(imgs, facts);
  return facts;
}

void read_in_one_pass(const path& path, const FileFacts& facts,
                      const std::function<void(std::span<const uint8_t>)>& take) {
  constexpr uint64_t kPiece = uint64_t{4} << 20;  // bytes handed over at once
  constexpr uint64_t kCache = uint64_t{1} << 30;  // of a row of chunks
  const SilentHdf5 silent;
  const Hdf5Id file = open_file(path);
  const uint64_t images = facts.shape.at(0), bytes = image_bytes({facts.shape.begin(), facts.shape.end()});
  const uint64_t row = facts.storage == Storage::kChunked ? facts.chunk.at(0) : 1;
  // A cache that holds one row of chunks: each is decompressed once.
  const Hdf5Id access(H5Pcreate(H5P_DATASET_ACCESS), H5Pclose);
  H5Pset_chunk_cache(access.get(), 12421, std::clamp(2 * row * bytes, kPiece, kCache), 1.0);
  const NamedDataset imgs = open_dataset(file.get(), path, facts.images_name, access.get());
  const uint64_t piece = std::max<uint64_t>(1, std::min(images, kPiece / std::max<uint64_t>(bytes, 1)));
  std::vector<uint8_t> pixels(piece * bytes);
  for (uint64_t first = 0; first < images;) {
    // A piece ends where its row of chunks does.
    const uint64_t count = std::min({piece, images - first, row > 1 ? row - first % row : piece});
    read_images(imgs, first, count, pixels.data());
    take({pixels.data(), count * bytes});
    first += count;
  }
}

}  // namespace cfm::data
