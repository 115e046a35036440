#include "keeper/checksums.h"

#include <algorithm>
#include <sstream>
#include <string_view>
#include <vector>

#include "base/durable_file.h"
#include "base/error.h"
#include "checkpoint/safetensors.h"

namespace cfm::keeper {
namespace {

namespace fs = std::filesystem;

constexpr size_t kDigits = 32;
constexpr std::string_view kBetween = "  ";

bool is_within(const std::string& name) {
  return !name.empty() && name.front() != '/' && ("/" + name + "/").find("/../") == std::string::npos;
}

}  // namespace

std::string checksums_text(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file()) names.push_back(entry.path().lexically_relative(folder).string());
  std::ranges::sort(names);
  std::string text;
  for (const std::string& name : names) {
    if (name == kChecksumsFile) continue;
    text += checkpoint::file_hash(folder / name) + std::string(kBetween) + name + "\n";
  }
  return text;
}

std::map<std::string, std::string> read_checksums(const fs::path& file) {
  std::map<std::string, std::string> sums;
  std::istringstream lines(read_file(file));
  int number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    const bool fits =
        line.size() > kDigits + kBetween.size() && line.find_first_not_of("0123456789abcdef") == kDigits &&
        line.substr(kDigits, kBetween.size()) == kBetween && is_within(line.substr(kDigits + kBetween.size()));
    check(fits, file.string() + ":" + std::to_string(number) + ": '" + line.substr(0, 80) +
                    "' is not 32 hex digits, two blanks and the name of a file in its folder");
    sums[line.substr(kDigits + kBetween.size())] = line.substr(0, kDigits);
  }
  return sums;
}

}  // namespace cfm::keeper
