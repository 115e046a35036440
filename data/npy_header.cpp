#include "data/npy_header.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "base/error.h"

namespace cfm::data {
namespace {

constexpr std::string_view kMagic("\x93NUMPY", 6);
constexpr uint64_t kMostHeader = 1 << 20;

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
    if (at < stop && *at == 'L') ++at;  // Python 2's long
  }
  return shape;
}

// The header's text and where it ends.
std::pair<std::string, uint64_t> header_text(const ByteSource& file) {
  const std::string& name = file.name;
  const std::string start = text_at(file, 0, std::min<uint64_t>(file.size, 12));
  check(start.starts_with(kMagic) && start.size() >= 10, name + " is no .npy: it does not begin with \\x93NUMPY.");
  const auto byte = [&start](size_t i) { return uint64_t{static_cast<unsigned char>(start[i])}; };
  check(byte(6) >= 1 && byte(6) <= 3,
        name + " is a .npy of version " + std::to_string(byte(6)) + "; versions 1 to 3 are read.");
  const bool old = byte(6) == 1;
  check(old || start.size() == 12, name + " is a truncated .npy.");
  const uint64_t begin = old ? 10 : 12;
  const uint64_t size = old ? byte(8) | byte(9) << 8 : byte(8) | byte(9) << 8 | byte(10) << 16 | byte(11) << 24;
  check(size <= kMostHeader && size <= file.size - begin, name + " is a truncated or damaged .npy: its header is of " +
                                                              std::to_string(size) + " bytes, the file of " +
                                                              std::to_string(file.size) + ".");
  return {text_at(file, begin, size), begin + size};
}

template <typename Integer>
std::vector<int64_t> widened(std::string_view bytes) {
  std::vector<int64_t> values(bytes.size() / sizeof(Integer));
  for (size_t i = 0; i < values.size(); ++i) {
    Integer value;
    std::memcpy(&value, bytes.data() + i * sizeof value, sizeof value);
    values[i] = static_cast<int64_t>(value);  // NOLINT(bugprone-signed-char-misuse): a number, no character
  }
  return values;
}

}  // namespace

NpyHeader read_npy_header(const ByteSource& file) {
  const auto [header, end] = header_text(file);
  const std::string_view type = value_of(header, "descr", file.name);
  const size_t quote = type.size() > 1 ? type.find('\'', 1) : std::string_view::npos;
  NpyHeader parsed;
  parsed.type = type.starts_with('\'') && quote != std::string_view::npos ? type.substr(1, quote - 1) : "a structure";
  parsed.fortran_order = !value_of(header, "fortran_order", file.name).starts_with("False");
  parsed.shape = parse_shape(value_of(header, "shape", file.name), file.name);
  parsed.bytes = end;
  return parsed;
}

std::string type_name(const std::string& type) {
  const char kind = type.size() > 2 ? type[1] : '\0';
  const std::string word = kind == 'u' ? "uint" : kind == 'i' ? "int" : kind == 'f' ? "float" : "";
  if (word.empty() || type.find_first_not_of("0123456789", 2) != std::string::npos || type.size() > 4) return type;
  return (type[0] == '>' ? "big-endian " : "") + word + std::to_string(8 * std::stoi(type.substr(2)));
}

size_t integer_bytes(std::string_view type) {
  if (type == "|u1" || type == "|i1") return 1;
  if (type == "<u2" || type == "<i2") return 2;
  if (type == "<u4" || type == "<i4") return 4;
  return type == "<u8" || type == "<i8" ? 8 : 0;
}

std::vector<int64_t> integers(std::string_view type, std::string_view bytes) {
  check(integer_bytes(type) > 0, "an array of dtype " + std::string(type) + " cannot be read as integers.");
  const bool has_sign = type[1] == 'i';
  switch (integer_bytes(type)) {
    case 1:
      return has_sign ? widened<int8_t>(bytes) : widened<uint8_t>(bytes);
    case 2:
      return has_sign ? widened<int16_t>(bytes) : widened<uint16_t>(bytes);
    case 4:
      return has_sign ? widened<int32_t>(bytes) : widened<uint32_t>(bytes);
    default:
      break;
  }
  std::vector<int64_t> values = widened<int64_t>(bytes);
  check(has_sign || std::ranges::all_of(values, [](int64_t value) { return value >= 0; }),
        "an array of dtype <u8 holds numbers of 2^63 and more; they cannot be read as integers.");
  return values;
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "(";
  for (size_t i = 0; i < shape.size(); ++i) text += (i > 0 ? "," : "") + std::to_string(shape[i]);
  return text + (shape.size() == 1 ? ",)" : ")");
}

uint64_t array_bytes(const std::vector<int64_t>& shape, size_t item, const std::string& name) {
  uint64_t bytes = item;
  bool fits = true;
  if (std::ranges::find(shape, 0) != shape.end()) return 0;
  for (const int64_t size : shape)
    fits = fits && size >= 0 && !__builtin_mul_overflow(bytes, static_cast<uint64_t>(size), &bytes) && bytes >> 63 == 0;
  check(fits, name + " is damaged: its shape " + shape_text(shape) + " needs more than 2^63 bytes.");
  return bytes;
}

}  // namespace cfm::data
