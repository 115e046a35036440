#include "checkpoint/safetensors_header.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>
#include <tuple>
#include <utility>

#include "base/error.h"
#include "base/shape.h"

namespace cfm::checkpoint {
namespace {

using nlohmann::json;

constexpr const char* kMetadataKey = "__metadata__";
constexpr std::array<std::pair<std::string_view, c10::ScalarType>, 9> kTypes{{{"F32", c10::ScalarType::Float},
                                                                              {"F64", c10::ScalarType::Double},
                                                                              {"F16", c10::ScalarType::Half},
                                                                              {"BF16", c10::ScalarType::BFloat16},
                                                                              {"I64", c10::ScalarType::Long},
                                                                              {"I32", c10::ScalarType::Int},
                                                                              {"I16", c10::ScalarType::Short},
                                                                              {"I8", c10::ScalarType::Char},
                                                                              {"U8", c10::ScalarType::Byte}}};

std::string known_types() {
  std::string all;
  for (const auto& [name, type] : kTypes) all += (all.empty() ? "" : ", ") + std::string(name);
  return all;
}

c10::ScalarType type_named(const std::string& name, const std::string& where) {
  for (const auto& [known, type] : kTypes) {
    if (known == name) return type;
  }
  throw Error(where + " has dtype '" + name + "'; known here are " + known_types());
}

// nlohmann keeps the last of two equal keys without a word, and has no limit on depth.
json parse_strictly(const std::string& text, const std::string& where) {
  std::vector<std::set<std::string>> keys;
  const auto watch = [&](int depth, json::parse_event_t event, json& parsed) {
    if (event == json::parse_event_t::object_start || event == json::parse_event_t::array_start) {
      if (depth > 3) throw Error(where + ": the header is nested deeper than safetensors headers are");
    }
    if (event == json::parse_event_t::object_start) keys.emplace_back();
    if (event == json::parse_event_t::object_end) keys.pop_back();
    if (event == json::parse_event_t::key && !keys.back().insert(parsed.get<std::string>()).second) {
      throw Error(where + ": the header has '" + parsed.get<std::string>() + "' twice");
    }
    return true;
  };
  try {
    return json::parse(text, watch);
  } catch (const json::exception& e) {
    throw Error(where + ": the header is not JSON (" + e.what() + "): not a safetensors file, or a damaged one");
  }
}

Metadata parse_metadata(const json& value, const std::string& where) {
  check(value.is_object(), where + ": __metadata__ is not an object");
  Metadata metadata;
  for (const auto& [key, text] : value.items()) {
    check(text.is_string(), where + ": __metadata__ '" + key + "' is not a string");
    metadata[key] = text.get<std::string>();
  }
  return metadata;
}

std::vector<int64_t> parse_sizes(const json& value, const std::string& what) {
  check(value.is_array(), what + " is not a list");
  std::vector<int64_t> sizes;
  for (const json& size : value) {
    check(size.is_number_unsigned() && size.get<uint64_t>() <= INT64_MAX,
          what + " has " + size.dump() + ", expected a size");
    sizes.push_back(size.get<int64_t>());
  }
  return sizes;
}

// Bytes of a dense tensor; -1 if they, or its strides (of an empty tensor too), do not fit 63 bits.
int64_t dense_bytes(c10::ScalarType type, const std::vector<int64_t>& shape) {
  auto bytes = static_cast<int64_t>(c10::elementSize(type));
  for (const int64_t size : shape) {
    if (__builtin_mul_overflow(bytes, std::max<int64_t>(size, 1), &bytes)) return -1;
  }
  return std::ranges::find(shape, 0) != shape.end() ? 0 : bytes;
}

TensorEntry parse_entry(const std::string& name, const json& value, int64_t data_bytes, const std::string& where) {
  const std::string what = where + ": tensor '" + name + "'";
  check(value.is_object(), what + " is not described by an object");
  check(value.size() == 3 && value.contains("dtype") && value.contains("shape") && value.contains("data_offsets") &&
            value["dtype"].is_string(),
        what + " is described by " + value.dump().substr(0, 200) + ", expected dtype, shape and data_offsets");
  TensorEntry entry{name, type_named(value["dtype"].get<std::string>(), what),
                    parse_sizes(value["shape"], what + ": shape")};
  const std::vector<int64_t> offsets = parse_sizes(value["data_offsets"], what + ": data_offsets");
  check(offsets.size() == 2 && offsets[0] <= offsets[1], what + ": data_offsets are not [begin, end]");
  std::tie(entry.begin, entry.end) = std::pair(offsets[0], offsets[1]);
  check(entry.end <= data_bytes, what + " ends at byte " + std::to_string(entry.end) +
                                     " of the data, but the file holds " + std::to_string(data_bytes) + ": truncated?");
  const int64_t expected = dense_bytes(entry.type, entry.shape);
  check(entry.end - entry.begin == expected,
        what + " has " + std::to_string(entry.end - entry.begin) + " bytes, but " + value["dtype"].get<std::string>() +
            " " + shape_text(entry.shape) + " takes " + (expected < 0 ? "more than 2^63" : std::to_string(expected)));
  return entry;
}

void check_dense(const std::vector<TensorEntry>& tensors, int64_t data_bytes, const std::string& where) {
  int64_t end = 0;
  for (const TensorEntry& tensor : tensors) {
    check(tensor.begin == end, where + ": tensor '" + tensor.name + "' begins at byte " + std::to_string(tensor.begin) +
                                   " of the data, " + (tensor.begin < end ? "inside another" : "behind a hole") +
                                   "; expected " + std::to_string(end));
    end = tensor.end;
  }
  check(end == data_bytes, where + ": the tensors take " + std::to_string(end) + " bytes, but the file holds " +
                               std::to_string(data_bytes) + " behind the header");
}

}  // namespace

std::string dtype_name(c10::ScalarType type) {
  for (const auto& [name, known] : kTypes) {
    if (known == type) return std::string(name);
  }
  throw Error(std::string("a tensor of type ") + c10::toString(type) + " cannot be stored; known are " + known_types());
}

std::string header_text(const SafetensorsHeader& header) {
  nlohmann::ordered_json all = nlohmann::ordered_json::object();
  if (!header.metadata.empty()) all[kMetadataKey] = header.metadata;
  for (const TensorEntry& tensor : header.tensors) {
    check(tensor.name != kMetadataKey && !all.contains(tensor.name),
          "two tensors to be stored are called '" + tensor.name + "'");
    all[tensor.name] = {
        {"dtype", dtype_name(tensor.type)}, {"shape", tensor.shape}, {"data_offsets", {tensor.begin, tensor.end}}};
  }
  std::string text = all.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  text.resize((text.size() + 7) / 8 * 8, ' ');
  check(static_cast<int64_t>(text.size()) <= kLargestHeader,
        "a safetensors header of " + std::to_string(text.size()) +
            " bytes is over the format's 100 MB: too many tensors");
  return text;
}

SafetensorsHeader parse_header(const std::string& text, int64_t data_bytes, const std::string& where) {
  check(text.starts_with('{'),
        where + ": the header does not begin with '{': not a safetensors file, or a damaged one");
  const json all = parse_strictly(text, where);
  SafetensorsHeader header;
  for (const auto& [name, value] : all.items()) {
    if (name == kMetadataKey) {
      header.metadata = parse_metadata(value, where);
    } else {
      header.tensors.push_back(parse_entry(name, value, data_bytes, where));
    }
  }
  std::ranges::sort(header.tensors, {}, [](const TensorEntry& t) { return std::tuple(t.begin, t.end, t.name); });
  check_dense(header.tensors, data_bytes, where);
  return header;
}

}  // namespace cfm::checkpoint
