#include "packer/finished_shard.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/log.h"
#include "data/fingerprint.h"
#include "data/shard.h"

namespace cfm::packer {
namespace {

std::vector<std::string> names_in(const std::string& json, const std::string& file) {
  if (json.empty()) return {};
  try {
    return nlohmann::json::parse(json).get<std::vector<std::string>>();
  } catch (const nlohmann::json::exception&) {
    throw Error(file + ": attribute `unreadable` is no JSON list of names.");
  }
}

void check_attribute(const data::Shard& shard, const std::string& name, const std::string& expected) {
  const std::string found = shard.attribute(name);
  check(found == expected,
        shard.path().string() + ": attribute `" + name + "` is '" + found + "'; expected '" + expected + "'.");
}

std::vector<std::string> check_finished(const std::filesystem::path& file, const Packing& packing, int64_t number,
                                        data::Hdf5Process* hdf5) {
  const data::Shard shard(file, data::facts_of(file, hdf5));
  for (const auto& [name, value] : packing.attributes(number)) check_attribute(shard, name, value);
  data::ImagesFingerprint::from_hex(shard.attribute("images_xxh3_sum"));
  std::vector<std::string> left_out = names_in(shard.attribute("unreadable"), file.string());
  const Packing::Places places = packing.places_of(number);
  const int64_t expected = places.last - places.first - static_cast<int64_t>(left_out.size());
  check(shard.image_shape() == packing.image_shape && shard.size() == expected,
        file.string() + " holds " + std::to_string(shard.size()) + " images; expected " + std::to_string(expected) +
            " of the packing's shape.");
  return left_out;
}

}  // namespace

std::optional<std::vector<std::string>> find_finished(const std::filesystem::path& file, const Packing& packing,
                                                      int64_t shard, data::Hdf5Process* hdf5) {
  if (!std::filesystem::exists(file)) return std::nullopt;
  try {
    return check_finished(file, packing, shard, hdf5);
  } catch (const Error& error) {
    warn("a shard is packed again: " + std::string(error.what()));
    return std::nullopt;
  }
}

}  // namespace cfm::packer
