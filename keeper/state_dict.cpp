#include "keeper/state_dict.h"

#include <algorithm>
#include <map>
#include <string_view>

#include "base/error.h"
#include "keeper/text.h"

namespace cfm::keeper {
namespace {

using Names = std::vector<std::string>;

constexpr std::string_view kAnchor = "time_embed.0.weight";  // every such U-Net has one
constexpr std::string_view kWrapper = "module.";             // of DataParallel and DistributedDataParallel

constexpr const char* kNoPrefix = ".";  // --part, where other parts have one

constexpr auto kNone = static_cast<size_t>(-1);

// What stands before the names of each U-Net: "", "module.", "ema_model.", ...
Names prefixes_in(const checkpoint::NamedTensors& tensors) {
  Names prefixes;
  for (const auto& [name, tensor] : tensors) {
    if (!name.ends_with(kAnchor)) continue;
    const std::string prefix = name.substr(0, name.size() - kAnchor.size());
    if (prefix.empty() || prefix.ends_with('.')) prefixes.push_back(prefix);
  }
  std::ranges::sort(prefixes);
  return prefixes;
}

std::string part_of(std::string prefix) {
  if (prefix == kWrapper || prefix.ends_with("." + std::string(kWrapper)))
    prefix.resize(prefix.size() - kWrapper.size());
  if (!prefix.empty()) prefix.pop_back();
  return prefix;
}

// The longest of `prefixes` that `name` begins with; kNone: nothing fits.
size_t prefix_of(const std::string& name, const Names& prefixes) {
  size_t found = kNone;
  for (size_t i = 0; i < prefixes.size(); ++i)
    if (name.starts_with(prefixes[i]) && (found == kNone || prefixes[i].size() > prefixes[found].size())) found = i;
  return found;
}

std::string shown(const std::string& prefix) {
  return prefix.empty() ? "have no prefix" : "begin with '" + prefix + "'";
}

// Of each prefix; Error if two would be told apart by nothing.
Names parts_of(const Names& prefixes, const std::string& file) {
  Names parts;
  for (const std::string& prefix : prefixes) {
    const std::string part = part_of(prefix);
    parts.push_back(part.empty() && prefixes.size() > 1 ? kNoPrefix : part);
    const auto same = std::ranges::find(parts, parts.back()) - parts.begin();
    check(static_cast<size_t>(same) + 1 == parts.size(),
          file + " holds two U-Nets that --part cannot tell apart: the names of one " +
              shown(prefixes[static_cast<size_t>(same)]) + ", those of the other " + shown(prefix) +
              ". Make a file that holds the one that is meant");
  }
  return parts;
}

std::string some_names(const checkpoint::NamedTensors& tensors) {
  constexpr size_t kShown = 5;
  Names names;
  for (const auto& [name, tensor] : tensors)
    if (names.size() < kShown) names.push_back("'" + name + "'");
  if (names.empty()) return "no tensors";
  return listed(names) + (tensors.size() > kShown ? ", ..." : "");
}

}  // namespace

StateDict read_state_dict(const std::filesystem::path& file, const std::string& part) {
  const checkpoint::SafetensorsFile content = checkpoint::read_safetensors(file);
  const Names prefixes = prefixes_in(content.tensors);
  check(!prefixes.empty(), "--from=" + file.string() +
                               " holds no U-Net with guided-diffusion's names: none of its names ends in '" +
                               std::string(kAnchor) + "'; it holds " + some_names(content.tensors));
  StateDict state{.file = file, .part = "", .parts = parts_of(prefixes, "--from=" + file.string()), .tensors = {}};
  if (part.empty() && prefixes.size() > 1)
    throw Error("--from=" + file.string() + " holds several U-Nets: give --part, one of " + listed(state.parts));
  const size_t chosen =
      part.empty() ? 0 : static_cast<size_t>(std::ranges::find(state.parts, part) - state.parts.begin());
  check(chosen < prefixes.size(),
        "--part=" + part + ": " + file.string() + " holds " +
            (state.parts == Names{""} ? "one U-Net without a prefix; leave --part out" : listed(state.parts)));
  state.part = state.parts[chosen];
  std::map<std::string, std::string> taken;  // as it stands in the file, by its name here
  for (const auto& [name, tensor] : content.tensors) {
    const size_t prefix = prefix_of(name, prefixes);
    if (prefix != chosen && prefix != kNone) continue;
    const std::string here =
        prefix == chosen ? name.substr(prefixes[chosen].size()) : name;  // of nothing known: as it is
    const auto [other, is_new] = taken.emplace(here, name);
    check(is_new, "--from=" + file.string() + " holds '" + here + "' twice, as '" + other->second + "' and as '" +
                      name + "': remove the one that is not meant");
    state.tensors.emplace_back(here, tensor);
  }
  return state;
}

}  // namespace cfm::keeper
