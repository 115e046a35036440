#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "data/file_facts.h"

namespace cfm::data {
namespace {

using Json = nlohmann::json;

Json labels_json(const std::vector<int64_t>& labels) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(labels.data());
  return Json::binary({bytes, bytes + labels.size() * sizeof(int64_t)});
}

std::vector<int64_t> labels_from(const Json& json) {
  const auto& bytes = json.get_binary();
  std::vector<int64_t> labels(bytes.size() / sizeof(int64_t));
  std::copy_n(bytes.data(), labels.size() * sizeof(int64_t), reinterpret_cast<uint8_t*>(labels.data()));
  return labels;
}

}  // namespace

std::string to_bytes(const FileFacts& f) {
  Json probes = Json::array();
  for (const FileFacts::Probe& probe : f.probes) probes.push_back({probe.image, probe.hash});
  const Json all{{"file_bytes", f.file_bytes},
                 {"userblock", f.userblock},
                 {"images_name", f.images_name},
                 {"images_type", f.images_type},
                 {"shape", f.shape},
                 {"storage", static_cast<int>(f.storage)},
                 {"external", f.external},
                 {"allocated", f.allocated},
                 {"offset", f.offset},
                 {"storage_bytes", f.storage_bytes},
                 {"chunk", f.chunk},
                 {"filters", f.filters},
                 {"chunks", f.chunks},
                 {"chunk_offsets", f.chunk_offsets},
                 {"probes", probes},
                 {"labels_name", f.labels_name},
                 {"labels_shape", f.labels_shape},
                 {"labels", labels_json(f.labels)},
                 {"block_hashes", f.block_hashes}};
  std::string bytes;
  Json whole = all;
  // Attributes are bytes: a file of somebody else's may hold anything.
  for (const auto& [name, value] : f.attributes)
    whole["attributes"].push_back(
        {Json::binary({name.begin(), name.end()}), Json::binary({value.begin(), value.end()})});
  Json::to_cbor(whole, bytes);
  return bytes;
}

FileFacts facts_from_bytes(const std::string& bytes) {
  const Json all = Json::from_cbor(bytes);
  FileFacts f;
  all.at("file_bytes").get_to(f.file_bytes);
  all.at("userblock").get_to(f.userblock);
  all.at("images_name").get_to(f.images_name);
  all.at("images_type").get_to(f.images_type);
  all.at("shape").get_to(f.shape);
  f.storage = static_cast<Storage>(all.at("storage").get<int>());
  all.at("external").get_to(f.external);
  all.at("allocated").get_to(f.allocated);
  all.at("offset").get_to(f.offset);
  all.at("storage_bytes").get_to(f.storage_bytes);
  all.at("chunk").get_to(f.chunk);
  all.at("filters").get_to(f.filters);
  all.at("chunks").get_to(f.chunks);
  all.at("chunk_offsets").get_to(f.chunk_offsets);
  for (const Json& probe : all.at("probes"))
    f.probes.push_back({probe.at(0).get<int64_t>(), probe.at(1).get<std::string>()});
  all.at("labels_name").get_to(f.labels_name);
  all.at("labels_shape").get_to(f.labels_shape);
  f.labels = labels_from(all.at("labels"));
  all.at("block_hashes").get_to(f.block_hashes);
  if (all.contains("attributes"))
    for (const Json& attribute : all.at("attributes")) {
      const auto &name = attribute.at(0).get_binary(), &value = attribute.at(1).get_binary();
      f.attributes.emplace(std::string(name.begin(), name.end()), std::string(value.begin(), value.end()));
    }
  return f;
}

}  // namespace cfm::data
