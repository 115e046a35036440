#include "parallel/exit_file.h"

#include <filesystem>
#include <fstream>

#include "base/environment.h"

namespace cfm::parallel {

void write_exit_file(ExitCode code) {
  const std::filesystem::path file = from_environment("CFM_EXIT_FILE");
  std::error_code none;
  if (std::filesystem::exists(file, none)) std::ofstream(file) << static_cast<int>(code) << "\n";  // not on other nodes
}

}  // namespace cfm::parallel
