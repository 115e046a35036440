#pragma once
#include <string>
#include <vector>

#include "base/error.h"

namespace cfm {

// Whether a flag was set, on the command line or in a flagfile, be it to its default. False for a flag that there is
// not.
bool flag_was_given(const std::string& name);

// "--steps=3 does nothing: <why>." for each of the flags that was given: what is ignored is refused.
Problems unused_flags(const std::vector<std::string>& names, const std::string& why);

}  // namespace cfm
