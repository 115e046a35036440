#include "data/npz.h"

#include <string_view>

#include "base/durable_file.h"
#include "base/error.h"
#include "data/array_file.h"
#include "data/zip_directory.h"
#include "data/zip_stream.h"

namespace cfm::data {
namespace {

constexpr std::string_view kMagic("\x93NUMPY", 6);

NumpyArray whole(const ByteSource& file) {
  const ArrayFile array = array_in(file);
  check(integer_bytes(array.type) > 0,
        file.name + " has dtype " + array.type +
            "; little-endian integers (|u1, <i4, <i8 and the like) are read. Convert it: a.astype('uint8')");
  check(!array.fortran_order,
        file.name + " is in Fortran order; C order is read. Convert it: numpy.ascontiguousarray(a)");
  NumpyArray read{array.type, array.shape, std::vector<uint8_t>(array.bytes.size)};
  read_at(array.bytes, 0, read.bytes);
  return read;
}

// Bytes of an element of what is written; 0 for any other type.
size_t written_bytes(const std::string& type) {
  if (type == "<f4") return 4;
  return type == "<f8" ? 8 : integer_bytes(type);
}

// Version 1, padded so that the data begins at a multiple of 64 bytes, as numpy does.
std::string npy_header(const NumpyArray& array, const std::string& name) {
  std::string shape;
  size_t bytes = written_bytes(array.type);
  for (const int64_t size : array.shape) {
    shape += std::to_string(size) + (array.shape.size() == 1 || &size != &array.shape.back() ? ", " : "");
    bytes *= static_cast<size_t>(size);
  }
  check(bytes == array.bytes.size() && written_bytes(array.type) > 0,
        "array " + name + " of type " + array.type + " and shape (" + shape + ") has " +
            std::to_string(array.bytes.size()) + " bytes; expected " + std::to_string(bytes) +
            ", of |u1, <i4, <i8, <f4 or <f8.");
  if (shape.ends_with(", ")) shape.pop_back();
  std::string text = "{'descr': '" + array.type + "', 'fortran_order': False, 'shape': (" + shape + "), }";
  text.append(63 - (kMagic.size() + 4 + text.size()) % 64, ' ');
  text += '\n';
  const auto size = static_cast<uint16_t>(text.size());
  return std::string(kMagic) + '\x01' + '\x00' + static_cast<char>(size & 255) + static_cast<char>(size >> 8) + text;
}

}  // namespace

std::vector<int64_t> NumpyArray::as_int64() const {
  return integers(type, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

NumpyArray read_npy(const std::filesystem::path& path) { return whole(file_bytes(path)); }

std::map<std::string, NumpyArray> read_npz(const std::filesystem::path& path) {
  std::map<std::string, NumpyArray> arrays;
  for (const ZipMember& member : zip_members(file_bytes(path))) {
    if (!member.name.ends_with(".npy")) continue;
    std::string bytes;
    bytes.reserve(member.bytes);
    stream_zip_member(path, member.name, member.bytes, [&bytes](std::span<const uint8_t> piece) {
      bytes.append(piece.begin(), piece.end());
      return true;
    });
    arrays[member.name.substr(0, member.name.size() - 4)] =
        whole(memory_bytes("array " + member.name + " of " + path.string(), bytes));
  }
  check(!arrays.empty(), path.string() + " holds no arrays (.npy files).");
  return arrays;
}

void write_npz(const std::filesystem::path& path, const std::map<std::string, NumpyArray>& arrays) {
  const std::filesystem::path temporary = path.string() + ".tmp";
  std::map<std::string, std::string> headers;
  for (const auto& [key, array] : arrays) headers[key] = npy_header(array, key);
  auto archive = open_zip(temporary, ZIP_CREATE | ZIP_TRUNCATE);
  for (const auto& [key, array] : arrays) {
    zip_buffer_fragment_t fragments[2] = {
        {reinterpret_cast<zip_uint8_t*>(headers[key].data()), headers[key].size()},
        {const_cast<zip_uint8_t*>(array.bytes.data()), array.bytes.size()}};  // read only: libzip does not own it
    zip_error_t error;
    zip_error_init(&error);
    zip_source_t* source = zip_source_buffer_fragment_create(fragments, 2, 0, &error);
    const zip_int64_t index =
        source == nullptr ? -1 : zip_file_add(archive.get(), (key + ".npy").c_str(), source, ZIP_FL_ENC_UTF_8);
    if (index < 0 && source != nullptr) zip_source_free(source);
    check(index >= 0 &&
              zip_set_file_compression(archive.get(), static_cast<zip_uint64_t>(index), ZIP_CM_STORE, 0) == 0 &&
              zip_file_set_dostime(archive.get(), static_cast<zip_uint64_t>(index), 0, 0x21, 0) == 0,  // 1980-01-01
          "cannot write array " + key + " to " + path.string() + ": " + zip_strerror(archive.get()));
  }
  if (zip_close(archive.get()) != 0)
    throw Error("cannot write " + temporary.string() + ": " + zip_strerror(archive.get()), ExitCode::kRetry);
  static_cast<void>(archive.release());
  fsync_file(temporary);
  rename_durably(temporary, path);
}

}  // namespace cfm::data
