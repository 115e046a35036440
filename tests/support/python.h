#pragma once
// The tests' Python (h5py, numpy, Pillow): the independent reader and writer of files.

#include <filesystem>
#include <fstream>
#include <string>

#include "support/data_support.h"

namespace cfm::tests {

// Runs a script in `folder` (its working directory); fails the test with the script's output unless it exits with 0.
inline std::string run_python(const std::filesystem::path& folder, const std::string& script) {
  const std::filesystem::path file = folder / "script.py";
  write_bytes(file, script);
  const ProgramResult result = run_program("cd '" + folder.string() + "' && '" CFM_PYTHON "' script.py");
  EXPECT_EQ(result.exit_code, 0) << script << "\n" << result.output;
  return result.output;
}

}  // namespace cfm::tests
