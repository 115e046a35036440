#include "support/training_run.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <stdexcept>

#include "base/durable_file.h"

extern char** environ;

namespace cfm::test {
namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

}  // namespace

TemporaryFolder::TemporaryFolder() {
  std::string name = (std::filesystem::temp_directory_path() / "cfm-test-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp " + name);
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

Running::Running(const std::vector<std::string>& command, const std::filesystem::path& log)
    : log_(log), started_(now()) {
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&files, 1, log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  posix_spawn_file_actions_adddup2(&files, 1, 2);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  const int error = posix_spawnp(&pid_, arguments[0], &files, &attributes, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) throw std::runtime_error("cannot start " + command[0]);
}

Running::~Running() {
  if (!ended()) {
    kill(-pid_, SIGKILL);
    waitpid(pid_, &status_, 0);
  }
}

bool Running::ended() {
  if (!ended_) ended_ = waitpid(pid_, &status_, WNOHANG) == pid_;
  return ended_;
}

Finished Running::wait() {
  if (!ended_) waitpid(pid_, &status_, 0);
  ended_ = true;
  return {.exit_code = WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_),
          .output = read_file(log_),
          .seconds = now() - started_};
}

Finished run(const std::vector<std::string>& command, const std::filesystem::path& log) {
  return Running(command, log).wait();
}

std::vector<std::string> mpirun(int ranks, int grace_seconds) {
  if (ranks == 0) return {};
  return {"mpirun",
          "--allow-run-as-root",
          "--oversubscribe",
          "--bind-to",
          "none",
          "--mca",
          "odls_base_sigkill_timeout",
          std::to_string(grace_seconds),
          "-n",
          std::to_string(ranks)};
}

std::string program(const std::string& name) { return std::string(CFM_BIN_DIR) + "/" + name; }

std::string digit_shards(const std::filesystem::path& folder, const std::string& split, int first, int count) {
  const Finished packed = run({program("cfm_pack"), "--source=" CFM_SOURCE_DIR "/configs/digits/digits.npz",
                               "--out=" + folder.string(), "--split=" + split, "--first=" + std::to_string(first),
                               "--count=" + std::to_string(count), "--shards=2", "--grey_levels=17"},
                              folder / ("pack-" + split + ".log"));
  if (packed.exit_code != 0) throw std::runtime_error("cfm_pack: " + packed.output);
  return (folder / split).string();
}

bool on_gpus() {
  const char* const device = std::getenv("CFM_TEST_DEVICE");
  return device != nullptr && std::string(device) == "cuda";
}

std::vector<int> rank_counts(const std::vector<int>& wanted) {
  const char* const gpus = std::getenv("CFM_TEST_GPUS");
  std::vector<int> counts = wanted;
  if (on_gpus() && gpus != nullptr) std::erase_if(counts, [&](int ranks) { return ranks > std::atoi(gpus); });
  return counts;
}

std::vector<std::string> small_run(const std::string& data, const std::filesystem::path& run_dir, double dropout) {
  const char* const device = std::getenv("CFM_TEST_DEVICE");
  std::vector<std::string> command{program("cfm_train"),
                                   "--train_data=" + data,
                                   "--run_dir=" + run_dir.string(),
                                   "--model_channels=32",
                                   "--num_res_blocks=1",
                                   "--channel_mult=1,2",
                                   "--attention_resolutions=4",
                                   "--num_head_channels=32",
                                   "--num_classes=10",
                                   "--dropout=" + std::to_string(dropout),
                                   "--global_batch=50",
                                   "--micro_batch=13",
                                   "--clip_norm=0.5",
                                   "--warmup_steps=1",
                                   "--horizontal_flip=false",
                                   "--label_drop=0.1",
                                   "--ema_decays=0.999,0.9",
                                   "--log_every=1",
                                   "--checkpoint_every=0",
                                   "--threads=1",
                                   "--step_timeout=60"};
  if (device != nullptr) command.push_back("--device=" + std::string(device));
  return command;
}

std::vector<std::string> with_flags(std::vector<std::string> command, const std::vector<std::string>& flags) {
  for (const std::string& flag : flags) {
    const std::string name = flag.substr(0, flag.find('=') + 1);
    const auto same =
        std::find_if(command.begin(), command.end(), [&](const auto& word) { return word.starts_with(name); });
    if (same == command.end()) {
      command.push_back(flag);
    } else {
      *same = flag;
    }
  }
  return command;
}

std::vector<nlohmann::json> events(const std::filesystem::path& run_dir, const std::string& name) {
  std::vector<nlohmann::json> found;
  std::ifstream in(run_dir / "events.jsonl");
  for (std::string line; std::getline(in, line);) {
    nlohmann::json event = nlohmann::json::parse(line, nullptr, false);
    if (!event.is_discarded() && event.at("event") == name) found.push_back(std::move(event));
  }
  return found;
}

std::map<long, double> losses(const std::filesystem::path& run_dir) {
  std::map<long, double> result;
  for (const nlohmann::json& event : events(run_dir, "step")) {
    if (event.at("loss").is_number()) result[event.at("step")] = event.at("loss");
  }
  return result;
}

std::map<std::string, std::string> tensors_of(const std::filesystem::path& run_dir, const std::string& step) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(run_dir / "checkpoints" / step)) {
    if (entry.path().extension() == ".safetensors") files[entry.path().filename().string()] = read_file(entry.path());
  }
  return files;
}

void expect_same_training(const std::filesystem::path& found, const std::filesystem::path& expected,
                          const std::string& step) {
  const auto files = tensors_of(expected, step), found_files = tensors_of(found, step);
  ASSERT_EQ(files.size(), 5U);  // model, two averages, two moments
  for (const auto& [name, bytes] : files) {
    ASSERT_TRUE(found_files.count(name)) << name;
    if (!on_gpus()) EXPECT_TRUE(found_files.at(name) == bytes) << name << " of " << found << " differs";
  }
  const auto losses_found = losses(found), losses_expected = losses(expected);
  ASSERT_EQ(losses_found.size(), losses_expected.size());
  for (const auto& [step_number, loss] : losses_expected)
    EXPECT_NEAR(losses_found.at(step_number) / loss, 1, 0.01) << "step " << step_number;
}

std::vector<std::string> operator+(std::vector<std::string> a, const std::vector<std::string>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

}  // namespace cfm::test
