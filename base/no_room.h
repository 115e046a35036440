#pragma once
#include <string>

#include "base/error.h"

namespace cfm {

// A write that found no room: a full disk (ENOSPC) or a quota (EDQUOT). There may be some later.
class NoRoom : public Error {
 public:
  explicit NoRoom(const std::string& what) : Error(what, ExitCode::kRetry) {}
};

}  // namespace cfm
