#include "base/environment.h"

#include <cstdlib>

namespace cfm {

std::string from_environment(const char* name, const std::string& otherwise) {
  const char* const text = std::getenv(name);
  return text == nullptr || *text == '\0' ? otherwise : text;
}

std::filesystem::path cache_folder(const std::string& name) {
  const std::string cache = from_environment("XDG_CACHE_HOME"), home = from_environment("HOME");
  if (cache.empty() && home.empty()) return {};
  return (cache.empty() ? std::filesystem::path(home) / ".cache" : std::filesystem::path(cache)) / "cfm" / name;
}

}  // namespace cfm
