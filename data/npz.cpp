#include "data/npz.h"

#include <zip.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <memory>
#include <string_view>

#include "base/durable_file.h"
#include "base/error.h"

namespace cfm::data {
namespace {

constexpr std::string_view kMagic("\x93NUMPY", 6);

size_t item_bytes(std::string_view type) { return type == "|u1" ? 1 : type == "<i4" ? 4 : type == "<i8" ? 8 : 0; }

// What stands behind "'key':" in a .npy header, which is a Python dict literal.
std::string_view value_of(std::string_view header, std::string_view key, const std::string& name) {
  const std::string quoted = "'" + std::string(key) + "':";
  const size_t at = header.find(quoted);
  check(at != std::string_view::npos, name + " is a damaged .npy: its header has no " + std::string(key) + ".");
  std::string_view value = header.substr(at + quoted.size());
  value.remove_prefix(std::min(value.find_first_not_of(' '), value.size()));
  return value;
}

std::vector<int64_t> parse_shape(std::string_view text, const std::string& name) {
  const size_t end = text.find(')');
  check(text.starts_with('(') && end != std::string_view::npos, name + " is a damaged .npy: its shape is no tuple.");
  std::vector<int64_t> shape;
  for (const char *at = text.data() + 1, *stop = text.data() + end; at < stop;) {
    if (*at == ' ' || *at == ',') {
      ++at;
      continue;
    }
    int64_t size = 0;
    const auto [next, error] = std::from_chars(at, stop, size);
    check(error == std::errc() && size >= 0, name + " is a damaged .npy: its shape holds more than sizes.");
    shape.push_back(size);
    at = next;
  }
  return shape;
}

// Where the header's text lies in the file's bytes.
std::string_view header_text(std::string_view bytes, const std::string& name) {
  check(bytes.starts_with(kMagic) && bytes.size() >= 10, name + " is no .npy: it does not begin with \\x93NUMPY.");
  const auto byte = [&bytes](size_t i) { return size_t{static_cast<unsigned char>(bytes[i])}; };
  check(byte(6) >= 1 && byte(6) <= 3,
        name + " is a .npy of version " + std::to_string(byte(6)) + "; versions 1 to 3 are read.");
  if (byte(6) == 1) return bytes.substr(10, byte(8) | byte(9) << 8);
  check(bytes.size() >= 12, name + " is a truncated .npy.");
  return bytes.substr(12, byte(8) | byte(9) << 8 | byte(10) << 16 | byte(11) << 24);
}

NumpyArray parse_npy(std::string_view bytes, const std::string& name) {
  const std::string_view header = header_text(bytes, name);
  const std::string_view type = value_of(header, "descr", name);
  const size_t end = type.size() > 1 ? type.find('\'', 1) : std::string_view::npos;
  NumpyArray array;
  array.type = type.starts_with('\'') && end != std::string_view::npos ? type.substr(1, end - 1) : "a structure";
  const size_t item = item_bytes(array.type);
  check(item > 0, name + " has dtype " + array.type +
                      "; uint8 (|u1), int32 (<i4) and int64 (<i8) are read. Convert it: a.astype('uint8')");
  check(value_of(header, "fortran_order", name).starts_with("False"),
        name + " is in Fortran order; C order is read. Convert it: numpy.ascontiguousarray(a)");
  array.shape = parse_shape(value_of(header, "shape", name), name);
  size_t expected = item;
  bool fits = true;
  for (const int64_t size : array.shape)
    fits = fits && !__builtin_mul_overflow(expected, static_cast<size_t>(size), &expected);
  const std::string_view data = bytes.substr(static_cast<size_t>(header.data() + header.size() - bytes.data()));
  check(fits && data.size() == expected, name + " is truncated or damaged: its shape needs " +
                                             (fits ? std::to_string(expected) : "more than 2^64") + " bytes, it has " +
                                             std::to_string(data.size()) + ".");
  array.bytes.assign(data.begin(), data.end());
  return array;
}

// Version 1, padded so that the data begins at a multiple of 64 bytes, as numpy does.
std::string npy_header(const NumpyArray& array, const std::string& name) {
  std::string shape;
  size_t bytes = item_bytes(array.type);
  for (const int64_t size : array.shape) {
    shape += std::to_string(size) + (array.shape.size() == 1 || &size != &array.shape.back() ? ", " : "");
    bytes *= static_cast<size_t>(size);
  }
  check(bytes == array.bytes.size() && item_bytes(array.type) > 0,
        "array " + name + " of type " + array.type + " and shape (" + shape + ") has " +
            std::to_string(array.bytes.size()) + " bytes; expected " + std::to_string(bytes) + ", of |u1, <i4 or <i8.");
  if (shape.ends_with(", ")) shape.pop_back();
  std::string text = "{'descr': '" + array.type + "', 'fortran_order': False, 'shape': (" + shape + "), }";
  text.append(63 - (kMagic.size() + 4 + text.size()) % 64, ' ');
  text += '\n';
  const auto size = static_cast<uint16_t>(text.size());
  return std::string(kMagic) + '\x01' + '\x00' + static_cast<char>(size & 255) + static_cast<char>(size >> 8) + text;
}

std::string read_entry(zip_t* archive, zip_uint64_t index, const zip_stat_t& status, const std::string& name) {
  // No byte deflates to more than 1032: a larger claim is damage, and not worth asking for memory.
  check((status.valid & ZIP_STAT_SIZE) != 0 && (status.valid & ZIP_STAT_COMP_SIZE) != 0 &&
            status.size / 1100 <= status.comp_size,
        name + " is damaged: it claims an impossible size.");
  const std::unique_ptr<zip_file_t, int (*)(zip_file_t*)> file(zip_fopen_index(archive, index, 0), zip_fclose);
  check(file != nullptr, name + " cannot be read: " + zip_strerror(archive) + ".");
  std::string bytes(status.size, '\0');
  size_t done = 0;
  zip_int64_t got = 1;
  while (got > 0 && done < bytes.size()) {
    got = zip_fread(file.get(), bytes.data() + done, bytes.size() - done);
    if (got > 0) done += static_cast<size_t>(got);
  }
  char beyond = 0;  // reading to the end is what makes libzip compare the checksum
  if (got > 0) got = zip_fread(file.get(), &beyond, 1);
  check(got == 0 && done == bytes.size(), name + " is damaged: " + zip_file_strerror(file.get()) + ".");
  return bytes;
}

std::unique_ptr<zip_t, void (*)(zip_t*)> open_zip(const std::filesystem::path& path, int flags) {
  int code = 0;
  zip_t* archive = zip_open(path.c_str(), flags, &code);
  if (archive == nullptr) {
    zip_error_t error;
    zip_error_init_with_code(&error, code);
    const std::string reason = zip_error_strerror(&error);
    zip_error_fini(&error);
    throw Error("cannot open " + path.string() + " as a .npz (a zip of .npy files): " + reason + ".");
  }
  return {archive, zip_discard};
}

}  // namespace

std::vector<int64_t> NumpyArray::as_int64() const {
  const size_t item = item_bytes(type);
  check(item > 0, "an array of dtype " + type + " cannot be read as integers.");
  std::vector<int64_t> values(bytes.size() / item);
  for (size_t i = 0; i < values.size(); ++i) {
    int32_t narrow = 0;
    if (item == 1) values[i] = bytes[i];
    if (item == 4) {
      std::memcpy(&narrow, bytes.data() + 4 * i, 4);
      values[i] = narrow;
    }
    if (item == 8) std::memcpy(&values[i], bytes.data() + 8 * i, 8);
  }
  return values;
}

NumpyArray read_npy(const std::filesystem::path& path) { return parse_npy(read_file(path), path.string()); }

std::map<std::string, NumpyArray> read_npz(const std::filesystem::path& path) {
  const auto archive = open_zip(path, ZIP_RDONLY);
  std::map<std::string, NumpyArray> arrays;
  const zip_int64_t entries = zip_get_num_entries(archive.get(), 0);
  for (zip_uint64_t i = 0; i < static_cast<zip_uint64_t>(std::max<zip_int64_t>(entries, 0)); ++i) {
    zip_stat_t status;
    zip_stat_init(&status);
    check(zip_stat_index(archive.get(), i, 0, &status) == 0 && (status.valid & ZIP_STAT_NAME) != 0,
          path.string() + " is damaged: " + zip_strerror(archive.get()) + ".");
    std::string key = status.name;
    if (!key.ends_with(".npy")) continue;
    const std::string name = "array " + key + " of " + path.string();
    key.resize(key.size() - 4);
    arrays[key] = parse_npy(read_entry(archive.get(), i, status, name), name);
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
