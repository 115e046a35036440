#include "keeper/train_flags.h"

#include <algorithm>

namespace cfm::keeper {
namespace {

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\v' || c == '\f'; }

// Whether base/command_line.h reads --name=value back as it is.
bool can_stand_in_a_flagfile(const std::string& value) {
  if (value.empty()) return true;
  if (is_blank(value.front()) || is_blank(value.back())) return false;
  for (size_t i = 0; i < value.size(); ++i) {
    if (value[i] == '\n' || value[i] == '\0') return false;
    if (value[i] == '#' && i > 0 && is_blank(value[i - 1])) return false;
  }
  return true;
}

std::string on_one_line(std::string text) {
  std::ranges::replace(text, '\n', ' ');
  return text;
}

}  // namespace

std::string train_flags_text(const checkpoint::Manifest& manifest, const std::string& of) {
  std::string text = "# cfm_train --flagfile=train.flags --run_dir=NEW trains like " + on_one_line(of) + ".\n" +
                     "# Written by cfm " + manifest.source_revision +
                     "; a path among these is of the machine that it ran on.\n";
  for (const auto& [name, value] : manifest.flags) {
    if (name == "run_dir") continue;
    text += can_stand_in_a_flagfile(value)
                ? "--" + name + "=" + value + "\n"
                : "# give on the command line, no flagfile can hold it: --" + name + "=" + on_one_line(value) + "\n";
  }
  return text;
}

}  // namespace cfm::keeper
