#include "keeper/state_dict.h"

#include <algorithm>
#include <string_view>

#include "base/error.h"
#include "keeper/text.h"

namespace cfm::keeper {
namespace {

using Names = std::vector<std::string>;

constexpr std::string_view kAnchor = "time_embed.0.weight";  // every such U-Net has one
constexpr std::string_view kWrapper = "module.";             // of DataParallel and DistributedDataParallel

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
  StateDict state{.file = file, .part = "", .parts = {}, .tensors = {}};
  state.parts.reserve(prefixes.size());
  for (const std::string& prefix : prefixes) state.parts.push_back(part_of(prefix));
  if (part.empty() && prefixes.size() > 1)
    throw Error("--from=" + file.string() + " holds several U-Nets: give --part, one of " + listed(state.parts));
  const size_t chosen =
      part.empty() ? 0 : static_cast<size_t>(std::ranges::find(state.parts, part) - state.parts.begin());
  check(chosen < prefixes.size(),
        "--part=" + part + ": " + file.string() + " holds " +
            (state.parts == Names{""} ? "one U-Net without a prefix; leave --part out" : listed(state.parts)));
  state.part = state.parts[chosen];
  for (const auto& [name, tensor] : content.tensors) {
    const size_t prefix = prefix_of(name, prefixes);
    if (prefix == chosen) state.tensors.emplace_back(name.substr(prefixes[chosen].size()), tensor);
    if (prefix == kNone) state.tensors.emplace_back(name, tensor);  // of nothing that is known
  }
  return state;
}

}  // namespace cfm::keeper
