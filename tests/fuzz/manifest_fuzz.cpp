// libFuzzer: any bytes are a manifest or a cfm::Error, and what is written of one reads back as the same. Changed bytes
// no longer fit the manifest's hash of itself, so each input that is JSON is read a second time in its canonical form
// with that put right: otherwise nothing behind the hash would be reached.

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/hash.h"
#include "checkpoint/manifest.h"

namespace {

using nlohmann::json;

constexpr const char* kHash = "manifest_xxh3_128";

void read(const std::string& text) {
  try {
    const cfm::checkpoint::Manifest manifest = cfm::checkpoint::manifest_from_json(text, "input");
    const std::string written = cfm::checkpoint::to_json(manifest);
    if (cfm::checkpoint::to_json(cfm::checkpoint::manifest_from_json(written, "written again")) != written)
      std::abort();
  } catch (const cfm::Error&) {
  }
}

// Whether it may be written by nlohmann's dump, which uses the stack for each level.
bool is_flat_enough(const std::string& text) {
  return std::ranges::count_if(text, [](char c) { return c == '[' || c == '{'; }) < 500;
}

std::string canonical(const json& all) { return all.dump(1, ' ', false, json::error_handler_t::replace) + "\n"; }

// Empty if it is no JSON object.
std::string with_its_hash(const std::string& text) {
  json all = is_flat_enough(text) ? json::parse(text, nullptr, false) : json();
  if (!all.is_object()) return "";
  all.erase(kHash);
  const std::string rest = canonical(all);
  all[kHash] = cfm::xxh3_128_hex(rest.data(), rest.size());
  return canonical(all);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const std::string text(reinterpret_cast<const char*>(bytes), size);
  read(text);
  const std::string repaired = with_its_hash(text);
  if (!repaired.empty()) read(repaired);
  return 0;
}
