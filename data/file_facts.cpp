#include "data/file_facts.h"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include "base/error.h"
#include "base/hash.h"
#include "data/hdf5_dataset.h"

namespace cfm::data {
namespace {

using std::filesystem::path;

static_assert(std::endian::native == std::endian::little, "labels are hashed as little-endian int64");

// libhdf5 finds the address of a chunk in a time that grows with their number, so beyond this one pass is quicker.
constexpr uint64_t kListedChunks = 20'000;

// Names under which people keep images and labels.
constexpr std::array<std::pair<const char*, const char*>, 5> kNames{
    {{kImagesName, kLabelsName}, {"images", "labels"}, {"data", "labels"}, {"X", "y"}, {"x", "y"}}};

std::pair<std::string, std::string> names_of(hid_t file, const path& path) {
  check(!has(file, "encoded_images"), path.string() +
                                          " holds encoded pictures (`encoded_images`, as Fuel writes them); expected "
                                          "pixels. Unpack the pictures into a folder and pack that.");
  for (const auto& [images, labels] : kNames)
    if (has(file, images) && has(file, labels)) return {images, labels};
  for (const auto& [images, labels] : kNames)
    if (has(file, images)) return {images, ""};
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
        labels.where + " has type " + type_text(labels.type.get()) +
            "; expected int64 or another integer: labels.astype('int64').");
  const bool flat = labels.dims.size() == 1 || (labels.dims.size() == 2 && labels.dims[1] == 1);
  if (!flat || labels.dims[0] != images || images == 0 || images > facts.file_bytes) return;  // the plan refuses it
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
  const Hdf5Id file = open_hdf5_file(path);
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
  if (!facts.labels_name.empty()) read_labels(open_dataset(file.get(), path, facts.labels_name), images, facts);
  if (images <= facts.file_bytes) facts.block_hashes = read_hashes(file.get(), path, images);
  facts.attributes = read_attributes(file.get());
  facts.probes = read_probes(imgs, facts);
  return facts;
}

}  // namespace cfm::data
