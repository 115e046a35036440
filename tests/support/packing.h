#pragma once
// Packing: in a test that runs under mpirun, and by the program.

#include <signal.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "packer/pack.h"
#include "support/data_support.h"
#include "support/mpi_tests.h"
#include "support/subprocess.h"

namespace cfm::tests {

inline packer::PackReport pack(const packer::PackConfig& config) { return packer::pack(config, test::session()); }

// The command line of cfm_pack; ranks 0: without mpirun.
#ifdef CFM_MPIRUN
inline std::string pack_command(const std::string& arguments, int ranks = 0) {
  const std::string launch = ranks == 0 ? "" : CFM_MPIRUN " -n " + std::to_string(ranks) + " ";
  return launch + CFM_BIN_DIR "/cfm_pack " + arguments;
}
inline test::CommandResult run_pack(const std::string& arguments, int ranks = 0) {
  return test::run_command(pack_command(arguments, ranks));
}
#endif

inline void expect_words(const test::CommandResult& result, int exit_code, const std::vector<std::string>& words) {
  EXPECT_EQ(result.exit_code, exit_code) << result.output;
  for (const std::string& word : words)
    EXPECT_NE(result.output.find(word), std::string::npos) << word << " not in:\n" << result.output;
}

// Names and bytes of a folder's shards, in one text.
inline std::string shards_of(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.path().extension() == ".h5") files.push_back(entry.path());
  std::ranges::sort(files);
  std::string text;
  for (const auto& file : files) text += file.filename().string() + "\n" + bytes_of(file);
  return text;
}

// The processes of cfm_pack that have `text` on their command line.
inline std::vector<pid_t> pack_processes(const std::string& text) {
  std::vector<pid_t> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    if (bytes_of(entry.path() / "comm") == "cfm_pack\n" &&
        bytes_of(entry.path() / "cmdline").find(text) != std::string::npos)
      found.push_back(static_cast<pid_t>(std::stol(name)));
  }
  return found;
}

// A packing in the background, which ends with this object.
class RunningPack {
 public:
  RunningPack(const std::string& command, std::string its_text) : text_(std::move(its_text)) {
    thread_ = std::thread([this, command] { result_ = test::run_command(command); });
  }
  ~RunningPack() {
    if (!thread_.joinable()) return;
    signal(SIGKILL);
    thread_.join();
  }
  RunningPack(const RunningPack&) = delete;
  RunningPack& operator=(const RunningPack&) = delete;
  void signal(int number) const {
    for (const pid_t process : pack_processes(text_)) ::kill(process, number);
  }
  test::CommandResult wait() {
    thread_.join();
    return result_;
  }

 private:
  const std::string text_;
  test::CommandResult result_{};
  std::thread thread_;
};

// False if it does not happen within half a minute.
inline bool wait_until(const std::function<bool()>& happened) {
  for (int i = 0; i < 30000; ++i) {
    if (happened()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return false;
}

}  // namespace cfm::tests
