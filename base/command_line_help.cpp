#include <gflags/gflags.h>

#include <algorithm>
#include <charconv>
#include <sstream>
#include <utility>

#include "base/command_line.h"
#include "base/number_text.h"

namespace cfm {
namespace {

size_t place_in(const std::vector<std::string>& groups, const std::string& group) {
  return static_cast<size_t>(std::find(groups.begin(), groups.end(), group) - groups.begin());
}

// `text` in lines of at most `width`, all but the first behind `indent` blanks.
std::string wrapped(const std::string& text, size_t indent, size_t width) {
  std::istringstream words(text);
  std::string word, lines;
  size_t column = 0;
  while (words >> word) {
    if (column > 0 && column + 1 + word.size() > width) {
      lines += "\n" + std::string(indent, ' ');
      column = 0;
    }
    lines += (column > 0 ? " " : "") + word;
    column += (column > 0 ? 1 : 0) + word.size();
  }
  return lines;
}

// What a person would write: gflags prints 1e-5 as 1.0000000000000001e-05.
std::string written(const std::string& value, const std::string& type) {
  double number = 0;
  const char* const end = value.data() + value.size();
  if (type != "double" || std::from_chars(value.data(), end, number).ptr != end) return value;
  return number_text(number);
}

std::string padded(const std::string& text, size_t width) {
  return text + std::string(std::max(width, text.size()) - text.size(), ' ');
}

}  // namespace

std::vector<FlagSetting> flag_settings(const ProgramHelp& program) {
  std::vector<FlagSetting> settings;
  std::vector<gflags::CommandLineFlagInfo> all;  // by file, then by name
  gflags::GetAllFlags(&all);
  for (const gflags::CommandLineFlagInfo& flag : all) {
    if (flag.filename != program.defined_in) continue;
    const size_t colon = flag.description.find(": ");
    const bool grouped = colon != std::string::npos;
    settings.push_back({flag.name, written(flag.current_value, flag.type), written(flag.default_value, flag.type),
                        grouped ? flag.description.substr(0, colon) : "other",
                        grouped ? flag.description.substr(colon + 2) : flag.description,
                        flag.current_value == flag.default_value});
  }
  std::stable_sort(settings.begin(), settings.end(), [&](const FlagSetting& a, const FlagSetting& b) {
    return std::pair(place_in(program.groups, a.group), a.group) <
           std::pair(place_in(program.groups, b.group), b.group);
  });
  return settings;
}

std::string help_text(const ProgramHelp& program) {
  constexpr size_t kColumn = 34, kWidth = 120;
  std::string text =
      program.name + ": " + program.summary + "\n\nusage: " + program.name +
      " [--flagfile=FILE] [--name=value ...]\n  A flagfile has one --name=value a line, # comments, and may name "
      "others; the command line wins.\n";
  if (!program.legend.empty()) text += "  " + wrapped(program.legend, 2, kWidth - 2) + "\n";
  std::string group;
  for (const FlagSetting& flag : flag_settings(program)) {
    if (flag.group != group) text += "\n" + flag.group + "\n";
    group = flag.group;
    const std::string spelling = "  --" + flag.name + "=" + flag.default_value;
    text += spelling.size() + 2 > kColumn ? spelling + "\n" + std::string(kColumn, ' ') : padded(spelling, kColumn);
    const std::string mark = program.mark ? program.mark(flag.name) : "";
    text += wrapped(flag.help + (mark.empty() ? "" : " [" + mark + "]"), kColumn, kWidth - kColumn) + "\n";
  }
  return text + "\nexample: " + program.example + "\n";
}

std::string settings_table(const ProgramHelp& program) {
  const std::vector<FlagSetting> settings = flag_settings(program);
  size_t width = 0;
  for (const FlagSetting& flag : settings) width = std::max(width, flag.name.size());
  std::string text, group;
  for (const FlagSetting& flag : settings) {
    if (flag.group != group) text += (text.empty() ? "" : "\n") + flag.group + "\n";
    group = flag.group;
    const std::string value = flag.value.empty() ? "(empty)" : flag.value;
    text += (flag.is_default ? "    " : "  * ") + padded(flag.name, width) + "  " + value + "\n";
  }
  return text + (text.empty() ? "" : "\n  * differs from the default\n");
}

}  // namespace cfm
