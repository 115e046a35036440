#include "checkpoint/committed.h"

#include <algorithm>
#include <charconv>
#include <iomanip>
#include <optional>
#include <sstream>
#include <system_error>

#include "base/error.h"
#include "checkpoint/input_file.h"

namespace cfm::checkpoint {
namespace {

namespace fs = std::filesystem;

constexpr const char* kManifest = "manifest.json";

// Steps of all folders called step_…, whole or not, ascending.
std::vector<int64_t> steps_in(const fs::path& run_dir) {
  std::vector<int64_t> steps;
  for (const std::string& name : checkpoint_names(run_dir)) {
    if (const int64_t step = step_of(name); step >= 0) steps.push_back(step);
  }
  std::ranges::sort(steps);
  return steps;
}

// Whether it is there. What cannot be told for now is not an absence.
bool is_there(const fs::path& file) {
  std::error_code error;
  const bool there = fs::exists(file, error);
  if (error) throw Error("cannot look for " + file.string() + ": " + error.message(), ExitCode::kRetry);
  return there;
}

}  // namespace

std::string step_name(int64_t step) {
  std::ostringstream name;
  name << kStepPrefix << std::setw(9) << std::setfill('0') << step;
  return name.str();
}

int64_t step_of(const std::string& name) {
  if (!name.starts_with(kStepPrefix)) return -1;
  int64_t step = -1;
  const char* const begin = name.data() + kStepPrefix.size();
  const char* const end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(begin, end, step);
  return error == std::errc() && stop == end && step >= 0 && step_name(step) == name ? step : -1;
}

fs::path checkpoints_folder(const fs::path& run_dir) { return run_dir / "checkpoints"; }

bool is_committed(const fs::path& run_dir, int64_t step) {
  return is_there(checkpoints_folder(run_dir) / step_name(step) / kManifest);
}

std::vector<int64_t> committed_steps(const fs::path& run_dir) {
  std::vector<int64_t> steps = steps_in(run_dir);
  std::erase_if(steps, [&](int64_t step) { return !is_committed(run_dir, step); });
  return steps;
}

Manifest read_manifest(const fs::path& checkpoint_dir) {
  const fs::path file = checkpoint_dir / kManifest;
  return manifest_from_json(whole_file(file), file.string());
}

void verify_checkpoint(const fs::path& checkpoint_dir, const Manifest& manifest) {
  for (const FileRecord& file : manifest.files) verify_file(checkpoint_dir / file.name, file);
}

void verify_after_rank_0(const fs::path& file, const FileRecord& record) {
  try {
    verify_file(file, record);
  } catch (const Error& e) {
    if (e.exit_code() != ExitCode::kWontWork) throw;
    throw Error(
        std::string(e.what()) +
            ", as this rank reads it, though rank 0 has read it whole; if it happens again, leave out this node",
        ExitCode::kRetry);
  }
}

std::string newest_intact_manifest(const fs::path& run_dir, const HearsOfDamage& damaged, int64_t below) {
  std::vector<int64_t> steps;
  reading(run_dir, [&] { steps = steps_in(run_dir); });
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
    if (*step >= below) continue;
    const fs::path file = checkpoints_folder(run_dir) / step_name(*step) / kManifest;
    std::optional<std::string> json;
    reading(run_dir, [&] {
      if (is_there(file)) json = whole_file(file);
    });
    if (!json) {
      damaged(*step, file.parent_path().string() + " has no " + kManifest + ": damaged");
    } else if (!manifest_is_intact(*json)) {
      damaged(*step, file.string() + " is damaged");
    } else {
      const int64_t recorded = manifest_from_json(*json, file.string()).progress.step;
      check(recorded == *step, file.string() + " is of step " + std::to_string(recorded) +
                                   ": the folder was renamed; rename it to " + step_name(recorded));
      return *json;
    }
  }
  return "";
}

void refuse_damaged_ones_only(const fs::path& run_dir) {
  for (const std::string& name : checkpoint_names(run_dir)) {
    check(name.find(kDamaged) == std::string::npos,
          "every checkpoint in " + checkpoints_folder(run_dir).string() + " is damaged (" + name +
              " among them): repair one and rename it back, " +
              "or move the damaged ones away to start this run again from nothing");
  }
}

std::vector<std::string> checkpoint_names(const fs::path& run_dir) {
  const fs::path folder = checkpoints_folder(run_dir);
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    names.push_back(entry->path().filename().string());
  }
  if (error && error != std::errc::no_such_file_or_directory) {
    throw Error("cannot list " + folder.string() + ": " + error.message(), ExitCode::kRetry);
  }
  std::ranges::sort(names);
  return names;
}

void reading(const fs::path& run_dir, const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& e) {
    if (e.exit_code() != ExitCode::kRetry) throw;
    throw Error(std::string(e.what()) +
                    ". That is not taken for damage, and nothing is set aside: the same command tries again. Should it "
                    "never succeed, move the step_… folder out of " +
                    checkpoints_folder(run_dir).string() + ", and the checkpoint before it is taken.",
                ExitCode::kRetry);
  } catch (const std::exception& e) {  // no memory
    throw Error(e.what(), ExitCode::kRetry);
  }
}

}  // namespace cfm::checkpoint
