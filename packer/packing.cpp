#include "packer/packing.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/hash.h"
#include "packer/pack.h"

namespace cfm::packer {
namespace {

using nlohmann::ordered_json;

constexpr int kVersion = 1;  // of packing.json, and of how settings become bytes

// Names of files need not be UTF-8.
std::string text_of(const ordered_json& json, int indent = -1) {
  return json.dump(indent, ' ', false, ordered_json::error_handler_t::replace);
}

std::string short_text(const ordered_json& value) {
  const std::string text = value.is_string() ? value.get<std::string>() : text_of(value);
  return text.size() > 200 ? text.substr(0, 197) + "..." : text;
}

ordered_json json_of(const Packing& packing) {
  const ordered_json json{{"format_version", kVersion},
                          {"source", packing.source},
                          {"source_images", packing.source_images},
                          {"first", packing.first},
                          {"images", packing.images},
                          {"names_and_labels_xxh3", packing.names_and_labels},
                          {"split", packing.split},
                          {"shards", packing.shards},
                          {"seed", packing.seed},
                          {"channels", packing.image_shape.channels},
                          {"height", packing.image_shape.height},
                          {"width", packing.image_shape.width},
                          {"resize", packing.resize},
                          {"grey_levels", packing.grey_levels},
                          {"label_map", ordered_json::parse(packing.label_map)}};
  return ordered_json::parse(text_of(json));  // as it comes back from a file
}

std::string hash_of_names_and_labels(const ImageSource& source, int64_t first, int64_t images) {
  Xxh3 hash;
  for (int64_t id = first; id < first + images; ++id) {
    const std::string line =
        source.image_name(id) + "\n" + std::to_string(source.labels[static_cast<size_t>(id)]) + "\n";
    hash.update(line.data(), line.size());
  }
  return hash.hex();
}

}  // namespace

std::string Packing::json() const { return text_of(json_of(*this), 1) + "\n"; }

std::string Packing::difference_from(const std::string& json) const {
  const ordered_json there = ordered_json::parse(json, nullptr, false);
  if (!there.is_object()) return "packing.json is damaged: no JSON object";
  const ordered_json here = json_of(*this);
  for (const auto& [name, value] : here.items()) {
    const auto found = there.find(name);
    if (found == there.end()) return name + " is missing there, " + short_text(value) + " here";
    if (*found != value) return name + " is " + short_text(*found) + " there, " + short_text(value) + " here";
  }
  return "";
}

std::string Packing::shard_name(int64_t shard) const {
  char name[32];
  std::snprintf(name, sizeof name, "-%05d-of-%05d.h5", static_cast<int>(shard), static_cast<int>(shards));
  return split + name;
}

Packing::Places Packing::places_of(int64_t shard) const {
  return {shard * images / shards, (shard + 1) * images / shards};
}

std::map<std::string, std::string> Packing::attributes(int64_t shard) const {
  std::map<std::string, std::string> attributes{
      {"source", source + ", images " + std::to_string(first) + " to " + std::to_string(first + images - 1) + " of " +
                     std::to_string(source_images)},
      {"resize", resize},
      {"split", split},
      {"shard", std::to_string(shard)},
      {"shards", std::to_string(shards)},
      {"seed", std::to_string(seed)},
      {"label_map", label_map}};
  if (grey_levels > 0) attributes["grey_levels"] = std::to_string(grey_levels);
  return attributes;
}

Packing packing_of(const PackConfig& config, const ImageSource& source, data::ImageShape image_shape,
                   const std::string& resize) {
  Packing packing;
  packing.source = source.description;
  packing.source_images = source.size();
  packing.first = config.first;
  packing.images = config.images_of(source.size());
  check(config.shards <= packing.images, "--shards=" + std::to_string(config.shards) + " for " +
                                             std::to_string(packing.images) + " images: expected at least one each.");
  packing.names_and_labels = hash_of_names_and_labels(source, packing.first, packing.images);
  ordered_json label_map = ordered_json::object();
  for (size_t label = 0; label < source.class_names.size(); ++label) label_map[source.class_names[label]] = label;
  packing.label_map = text_of(label_map);
  packing.split = config.split;
  packing.shards = config.shards;
  packing.seed = config.seed;
  packing.image_shape = image_shape;
  packing.resize = resize;
  packing.grey_levels = config.grey_levels;
  return packing;
}

}  // namespace cfm::packer
