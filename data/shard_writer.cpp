#include "data/shard_writer.h"

#include <optional>
#include <vector>

#include "base/durable_file.h"
#include "base/error.h"
#include "base/hash.h"
#include "data/fingerprint.h"
#include "data/hdf5_id.h"

namespace cfm::data {
namespace {

constexpr hsize_t kAlignment = 4096;
constexpr hsize_t kAlignFrom = 512;       // smaller objects are metadata
constexpr int64_t kPieceBytes = 4 << 20;  // kept before they are written: a block of large images would be GBs

Hdf5Id create_file(const std::filesystem::path& path) {
  const Hdf5Id access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  H5Pset_alignment(access.get(), kAlignFrom, kAlignment);
  H5Pset_file_locking(access.get(), false, true);
  return {H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access.get()), H5Fclose};
}

// Contiguous, with space from the start, and without a time stamp: the same images make the same bytes.
Hdf5Id create_dataset(hid_t file, const char* name, hid_t type, const std::vector<hsize_t>& dims) {
  const Hdf5Id space(H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr), H5Sclose);
  const Hdf5Id properties(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  H5Pset_layout(properties.get(), H5D_CONTIGUOUS);
  H5Pset_alloc_time(properties.get(), H5D_ALLOC_TIME_EARLY);
  H5Pset_fill_time(properties.get(), H5D_FILL_TIME_NEVER);
  H5Pset_obj_track_times(properties.get(), false);
  return {H5Dcreate2(file, name, type, space.get(), H5P_DEFAULT, properties.get(), H5P_DEFAULT), H5Dclose};
}

// Variable-length UTF-8, which h5py gives as str, and which may be longer than the 64 KiB of an object header.
bool write_attribute(hid_t file, const std::string& name, const std::string& value) {
  const Hdf5Id type(H5Tcopy(H5T_C_S1), H5Tclose);
  H5Tset_size(type.get(), H5T_VARIABLE);
  H5Tset_cset(type.get(), H5T_CSET_UTF8);
  const Hdf5Id space(H5Screate(H5S_SCALAR), H5Sclose);
  Hdf5Id attribute(H5Acreate2(file, name.c_str(), type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
  const char* text = value.c_str();
  return attribute.ok() && H5Awrite(attribute.get(), type.get(), &text) >= 0 && attribute.close();
}

}  // namespace

struct ShardWriter::Impl {
  std::filesystem::path path, temporary;
  ImageShape shape;
  int64_t images;
  std::map<std::string, std::string> attributes;
  std::optional<Hdf5Id> file, imgs;  // `file` is empty once the shard stands under its name
  std::vector<uint8_t> piece;        // images that are not written yet
  std::vector<int64_t> labels;
  std::optional<Xxh3> block_hash;  // of the block that has been begun
  std::string hashes;
  ImagesFingerprint fingerprint;

  ~Impl() {
    if (!file) return;
    const SilentHdf5 silent;
    imgs.reset();
    file.reset();
    std::error_code ignored;
    std::filesystem::remove(temporary, ignored);
  }
  // Disks fill up and come back, so these may be tried again.
  void check_written(bool ok) const {
    if (!ok)
      throw Error("cannot write " + temporary.string() + ": " + hdf5_reason() +
                      ". Once it can be written, the same command goes on: finished shards are kept.",
                  ExitCode::kRetry);
  }
  void write_piece();
  void end_block();
  void write_rest();
};

void ShardWriter::Impl::write_piece() {
  if (piece.empty()) return;
  const auto count = static_cast<hsize_t>(static_cast<int64_t>(piece.size()) / shape.bytes());
  const hsize_t start[4] = {labels.size() - count, 0, 0, 0};
  const hsize_t extent[4] = {count, static_cast<hsize_t>(shape.channels), static_cast<hsize_t>(shape.height),
                             static_cast<hsize_t>(shape.width)};
  const Hdf5Id memory(H5Screate_simple(4, extent, nullptr), H5Sclose);
  const Hdf5Id place(H5Dget_space(imgs->get()), H5Sclose);
  check_written(H5Sselect_hyperslab(place.get(), H5S_SELECT_SET, start, nullptr, extent, nullptr) >= 0 &&
                H5Dwrite(imgs->get(), H5T_NATIVE_UINT8, memory.get(), place.get(), H5P_DEFAULT, piece.data()) >= 0);
  if (!block_hash) block_hash.emplace();
  block_hash->update(piece.data(), piece.size());
  piece.clear();
}

void ShardWriter::Impl::end_block() {
  write_piece();
  if (block_hash) hashes += block_hash->hex();
  block_hash.reset();
}

void ShardWriter::Impl::write_rest() {
  Hdf5Id label_set = create_dataset(file->get(), kLabelsName, H5T_STD_I64LE, {labels.size()});
  check_written(label_set.ok() &&
                H5Dwrite(label_set.get(), H5T_NATIVE_INT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, labels.data()) >= 0 &&
                label_set.close());
  const Hdf5Id type(H5Tcopy(H5T_C_S1), H5Tclose);
  H5Tset_size(type.get(), 32);
  H5Tset_strpad(type.get(), H5T_STR_NULLPAD);
  Hdf5Id hash_set = create_dataset(file->get(), kHashesName, type.get(), {hashes.size() / 32});
  check_written(hash_set.ok() &&
                H5Dwrite(hash_set.get(), type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, hashes.data()) >= 0 &&
                hash_set.close());
  attributes[kVersionName] = kFormatVersion;
  attributes[kLabelsHashName] = xxh3_128_hex(labels.data(), labels.size() * sizeof(int64_t));
  attributes[kImagesSumName] = fingerprint.hex();
  for (const auto& [name, value] : attributes) check_written(write_attribute(file->get(), name, value));
}

ShardWriter::ShardWriter(std::filesystem::path path, ImageShape shape, int64_t images,
                         std::map<std::string, std::string> attributes)
    : impl_(std::make_unique<Impl>()) {
  check(images > 0 && shape.bytes() > 0 && (shape.channels == 1 || shape.channels == 3),
        "shard " + path.string() + ": asked for " + std::to_string(images) + " images of " +
            std::to_string(shape.channels) + "x" + std::to_string(shape.height) + "x" + std::to_string(shape.width) +
            "; expected at least one, of 1 or 3 channels.");
  Impl& impl = *impl_;
  impl.temporary = path.string() + ".tmp";
  impl.path = std::move(path);
  impl.shape = shape;
  impl.images = images;
  impl.attributes = std::move(attributes);
  const SilentHdf5 silent;
  impl.file.emplace(create_file(impl.temporary));
  impl.check_written(impl.file->ok());
  impl.imgs.emplace(create_dataset(impl.file->get(), kImagesName, H5T_STD_U8LE,
                                   {static_cast<hsize_t>(images), static_cast<hsize_t>(shape.channels),
                                    static_cast<hsize_t>(shape.height), static_cast<hsize_t>(shape.width)}));
  impl.check_written(impl.imgs->ok());
}

ShardWriter::~ShardWriter() = default;

void ShardWriter::append(std::span<const uint8_t> image, int64_t label) {
  Impl& impl = *impl_;
  if (static_cast<int64_t>(image.size()) != impl.shape.bytes() || label < 0 ||
      static_cast<int64_t>(impl.labels.size()) >= impl.images)
    throw Error("shard " + impl.path.string() + ": image " + std::to_string(impl.labels.size()) + " of " +
                std::to_string(impl.images) + " has " + std::to_string(image.size()) + " bytes and label " +
                std::to_string(label) + "; expected " + std::to_string(impl.shape.bytes()) +
                " bytes and a label from 0.");
  impl.fingerprint.add(image, label);
  impl.piece.insert(impl.piece.end(), image.begin(), image.end());
  impl.labels.push_back(label);
  const SilentHdf5 silent;
  if (static_cast<int64_t>(impl.piece.size()) >= kPieceBytes) impl.write_piece();
  if (static_cast<int64_t>(impl.labels.size()) % kBlockImages == 0) impl.end_block();
}

void ShardWriter::finish() {
  Impl& impl = *impl_;
  check(static_cast<int64_t>(impl.labels.size()) == impl.images && impl.file,
        "shard " + impl.path.string() + ": " + std::to_string(impl.labels.size()) + " images were given; expected " +
            std::to_string(impl.images) + ", once.");
  const SilentHdf5 silent;
  impl.end_block();
  impl.write_rest();
  impl.check_written(impl.imgs->close() && impl.file->close());
  fsync_file(impl.temporary);
  rename_durably(impl.temporary, impl.path);
  impl.file.reset();
}

}  // namespace cfm::data
