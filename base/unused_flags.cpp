#include "base/unused_flags.h"

#include <gflags/gflags.h>

#include "base/number_text.h"

namespace cfm {
namespace {

using gflags::CommandLineFlagInfo;

// What a person would write: gflags prints 1e-5 as 1.0000000000000001e-05.
std::string value_text(const CommandLineFlagInfo& flag) {
  return flag.type == "double" ? number_text(*static_cast<const double*>(flag.flag_ptr)) : flag.current_value;
}

}  // namespace

bool flag_was_given(const std::string& name) {
  CommandLineFlagInfo flag;
  return gflags::GetCommandLineFlagInfo(name.c_str(), &flag) && !flag.is_default;
}

Problems unused_flags(const std::vector<std::string>& names, const std::string& why) {
  Problems problems;
  for (const std::string& name : names) {
    CommandLineFlagInfo flag;
    if (!gflags::GetCommandLineFlagInfo(name.c_str(), &flag) || flag.is_default) continue;
    problems.push_back("--" + name + "=" + value_text(flag) + " does nothing: " + why + ".");
  }
  return problems;
}

}  // namespace cfm
