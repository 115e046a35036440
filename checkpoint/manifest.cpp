#include "checkpoint/manifest.h"

#include <nlohmann/json.hpp>
#include <type_traits>

#include "base/error.h"
#include "base/hash.h"

namespace cfm::checkpoint {
namespace {

using nlohmann::json;

constexpr const char* kHashKey = "manifest_xxh3_128";

// Keys are sorted and only integers, strings, lists and objects occur: the text is the same after reading it back.
std::string canonical(const json& all) { return all.dump(1, ' ', false, json::error_handler_t::replace) + "\n"; }

// Null unless it is JSON, nested no deeper than manifests are: what writes it again would use the stack for each level.
json parse(const std::string& text) {
  constexpr int kDeepest = 5;
  bool too_deep = false;
  json all = json::parse(
      text,
      [&](int depth, json::parse_event_t, json&) {
        too_deep = too_deep || depth > kDeepest;
        return !too_deep;
      },
      /*allow_exceptions=*/false);
  return too_deep || all.is_discarded() ? json() : all;
}

template <typename T>
T value_of(const json& object, const std::string& key, const std::string& where) {
  check(object.is_object() && object.contains(key), where + " has no '" + key + "'");
  const json& value = object[key];
  bool fits = false;
  if constexpr (std::is_same_v<T, std::string>) {
    fits = value.is_string();
  } else if constexpr (std::is_same_v<T, uint64_t>) {
    fits = value.is_number_unsigned();
  } else if constexpr (std::is_integral_v<T>) {
    fits = value.is_number_integer() && (!value.is_number_unsigned() || value.get<uint64_t>() <= INT64_MAX);
  } else {
    fits = true;  // a container: the conversion below checks its elements
  }
  try {
    if (fits) return value.get<T>();
  } catch (const json::exception&) {
  }
  throw Error(where + ": '" + key + "' is " + value.dump().substr(0, 100) + ", expected " +
              (std::is_same_v<T, std::string> ? "a string"
               : std::is_integral_v<T>        ? "an integer"
               : std::is_same_v<T, Metadata>  ? "an object of strings"
                                              : "a list of strings"));
}

FileRecord file_from_json(const json& object, const std::string& where) {
  FileRecord record{value_of<std::string>(object, "name", where), value_of<int64_t>(object, "bytes", where),
                    value_of<std::vector<std::string>>(object, "xxh3_128_per_64_mib", where)};
  check(!record.name.empty() && record.name.front() != '.' && record.name.find('/') == std::string::npos,
        where + ": '" + record.name + "' is not the name of a file in the checkpoint's folder");
  return record;
}

Branch branch_from_json(const json& object, const std::string& where) {
  return {value_of<std::string>(object, "run", where), value_of<int64_t>(object, "step", where),
          value_of<std::string>(object, "manifest_xxh3_128", where), value_of<int64_t>(object, "updates", where)};
}

}  // namespace

std::string to_json(const Manifest& manifest) {
  json files = json::array();
  for (const FileRecord& file : manifest.files) {
    files.push_back({{"name", file.name}, {"bytes", file.bytes}, {"xxh3_128_per_64_mib", file.block_hashes}});
  }
  json all{{"format_version", manifest.format_version},
           {"step", manifest.progress.step},
           {"images_seen", manifest.progress.images_seen},
           {"optimizer_steps", manifest.progress.optimizer_steps},
           {"seed", manifest.seed},
           {"global_batch", manifest.global_batch},
           {"data_groups", manifest.data_groups},
           {"dataset_fingerprint", manifest.dataset_fingerprint},
           {"dataset_images_fingerprint", manifest.dataset_images_fingerprint},
           {"source_revision", manifest.source_revision},
           {"model", manifest.model},
           {"flags", manifest.flags},
           {"last_bits", manifest.last_bits},
           {"files", files}};
  if (const auto& branch = manifest.branched_from)
    all["branched_from"] = {{"run", branch->run},
                            {"step", branch->step},
                            {"manifest_xxh3_128", branch->manifest_hash},
                            {"updates", branch->updates}};
  const std::string text = canonical(all);
  all[kHashKey] = xxh3_128_hex(text.data(), text.size());
  return canonical(all);
}

bool manifest_is_intact(const std::string& text) {
  json all = parse(text);
  if (!all.is_object() || !all.contains(kHashKey) || canonical(all) != text) return false;
  const json recorded = all[kHashKey];
  all.erase(kHashKey);
  const std::string rest = canonical(all);
  return recorded == xxh3_128_hex(rest.data(), rest.size());
}

Manifest manifest_from_json(const std::string& text, const std::string& where) {
  check(manifest_is_intact(text), where + " is damaged: it is not JSON whose " + kHashKey + " holds");
  const json all = json::parse(text);
  Manifest m;
  const auto version = value_of<int64_t>(all, "format_version", where);
  check(version == kFormatVersion, where + " has format version " + std::to_string(version) + ", this program reads " +
                                       std::to_string(kFormatVersion) + ": use the version of cfm that wrote it");
  m.progress = {value_of<int64_t>(all, "step", where), value_of<int64_t>(all, "images_seen", where),
                value_of<int64_t>(all, "optimizer_steps", where)};
  m.seed = value_of<uint64_t>(all, "seed", where);
  m.global_batch = value_of<int64_t>(all, "global_batch", where);
  m.data_groups = value_of<int64_t>(all, "data_groups", where);
  m.dataset_fingerprint = value_of<std::string>(all, "dataset_fingerprint", where);
  if (all.contains("dataset_images_fingerprint"))  // not in the first checkpoints of this version
    m.dataset_images_fingerprint = value_of<std::string>(all, "dataset_images_fingerprint", where);
  m.source_revision = value_of<std::string>(all, "source_revision", where);
  m.model = value_of<Metadata>(all, "model", where);
  m.flags = value_of<Metadata>(all, "flags", where);
  m.last_bits = value_of<Metadata>(all, "last_bits", where);
  if (all.contains("branched_from")) m.branched_from = branch_from_json(all["branched_from"], where);
  check(all.contains("files") && all["files"].is_array(), where + " has no list 'files'");
  for (const json& file : all["files"]) m.files.push_back(file_from_json(file, where));
  return m;
}

}  // namespace cfm::checkpoint
