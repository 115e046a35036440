#pragma once
// cfm_checkpoint as people start it.

#include <string>

#include "support/subprocess.h"

namespace cfm::test {

inline CommandResult cfm_checkpoint(const std::string& arguments, int limit_seconds = 60) {
  return run_command(std::string(CFM_BIN_DIR) + "/cfm_checkpoint " + arguments, limit_seconds);
}

}  // namespace cfm::test
