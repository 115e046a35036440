#include "base/command_text.h"

#include "base/unused_flags.h"

namespace cfm {
namespace {

std::string quoted(const std::string& value) {
  constexpr const char* kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./,:=+@%";
  if (value.find_first_not_of(kPlain) == std::string::npos) return value;
  std::string text = "'";
  for (const char c : value) text += c == '\'' ? "'\\''" : std::string(1, c);
  return text + "'";
}

}  // namespace

std::string command_text(const ProgramHelp& program) {
  std::string text = program.name;
  for (const FlagSetting& flag : flag_settings(program))
    if (flag_was_given(flag.name)) text += " --" + flag.name + "=" + quoted(flag.value);
  return text;
}

}  // namespace cfm
