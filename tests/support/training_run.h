#pragma once
// Runs of the real programs for tests: shards of the digits, cfm_train under mpirun, what it left behind.

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace cfm::test {

// A new folder under the system's temporary one, removed at the end.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

struct Finished {
  int exit_code = -1;  // 128 + signal if a signal ended it
  std::string output;  // standard output and error
  double seconds = 0;
};

// A program that runs in the background, in a process group of its own.
class Running {
 public:
  Running(const std::vector<std::string>& command, const std::filesystem::path& log);
  ~Running();  // kills what still runs
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;
  int pid() const { return pid_; }
  bool ended();
  Finished wait();

 private:
  int pid_;
  std::filesystem::path log_;
  int status_ = 0;
  bool ended_ = false;
  double started_;
};

Finished run(const std::vector<std::string>& command, const std::filesystem::path& log);

// {"mpirun", ..., "-n", ranks}; nothing for 0 ranks: alone. When a rank ends badly the others have that long to say so
// before mpirun kills them, which waits for all of it: none where all ranks end by themselves, 2 is mpirun's own.
std::vector<std::string> mpirun(int ranks, int grace_seconds = 0);
std::string program(const std::string& name);  // of this build

// Shards of `count` digits from `first` on, under folder/split; that path.
std::string digit_shards(const std::filesystem::path& folder, const std::string& split, int first, int count);

// Whether runs are made on GPUs: the environment's CFM_TEST_DEVICE is cuda.
bool on_gpus();
// Those of `wanted` that there are GPUs for (the environment's CFM_TEST_GPUS); all of them on CPUs.
std::vector<int> rank_counts(const std::vector<int>& wanted);

// Flags of a small network with labels, dropout, clipping and two gradient buckets (1 MiB, and the rest) on `data`, on
// the device of CFM_TEST_DEVICE if there is one.
std::vector<std::string> small_run(const std::string& data, const std::filesystem::path& run_dir, double dropout = 0.1);

// `command` with these flags in place of its own of the same name, or behind it.
std::vector<std::string> with_flags(std::vector<std::string> command, const std::vector<std::string>& flags);

// The lines of RUN/events.jsonl that are called `name`.
std::vector<nlohmann::json> events(const std::filesystem::path& run_dir, const std::string& name);

// The loss of each step in RUN/events.jsonl (the last one written, where a step was made twice); steps whose
// loss is not finite are left out.
std::map<long, double> losses(const std::filesystem::path& run_dir);

// Names and bytes of the .safetensors files of a checkpoint.
std::map<std::string, std::string> tensors_of(const std::filesystem::path& run_dir, const std::string& step);

// Fails the test unless two runs to the same step are one: on CPUs their weights, averages and moments bit for bit; on
// GPUs, where cuDNN adds in no fixed order, the losses of all steps to a hundredth.
void expect_same_training(const std::filesystem::path& found, const std::filesystem::path& expected,
                          const std::string& step);

std::vector<std::string> operator+(std::vector<std::string> a, const std::vector<std::string>& b);

}  // namespace cfm::test
