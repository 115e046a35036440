#include "keeper/verify.h"

#include <ATen/ops/isfinite.h>
#include <ATen/ops/item.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <set>

#include "base/grouped_number.h"
#include "base/log.h"
#include "checkpoint/committed.h"
#include "checkpoint/readers.h"
#include "checkpoint/weights.h"
#include "keeper/checksums.h"
#include "keeper/run_contents.h"
#include "keeper/text.h"

namespace cfm::keeper {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr const char* kManifest = "manifest.json";

// What was looked at, and what came of it.
class Verdicts {
 public:
  // One file. `work` throws what is wrong with it, and returns what was found otherwise.
  void look(const std::string& name, const std::function<std::string()>& work) {
    ++files_;
    try {
      say("  whole    " + name + "  " + work());
    } catch (const Error& e) {
      const bool is_damage = e.exit_code() == ExitCode::kWontWork;
      (is_damage ? damaged_ : unreadable_) += 1;
      say((is_damage ? "  DAMAGED  " : "  unread   ") + name + "\n           " + e.what());
    }
  }
  void add_bytes(int64_t bytes) { bytes_ += bytes; }

  ExitCode summary() const {
    const double seconds = std::chrono::duration<double>(Clock::now() - start_).count();
    const std::string all = counted(files_, "file") + ", " + bytes_text(bytes_) + " hashed in " +
                            about_text(static_cast<std::time_t>(seconds));
    say((damaged_ > 0      ? "damaged    " + grouped(damaged_) + " of "
         : unreadable_ > 0 ? "unread     " + grouped(unreadable_) + " of "
                           : "whole      ") +
        all);
    return damaged_ > 0 ? ExitCode::kWontWork : unreadable_ > 0 ? ExitCode::kRetry : ExitCode::kDone;
  }

 private:
  const Clock::time_point start_ = Clock::now();
  int64_t files_ = 0, damaged_ = 0, unreadable_ = 0, bytes_ = 0;
};

std::string blocks_text(const checkpoint::FileRecord& record) {
  return bytes_text(record.bytes) + " in " + counted(static_cast<int64_t>(record.block_hashes.size()), "block");
}

void verify_recorded(const fs::path& folder, const checkpoint::FileRecord& record, Verdicts& verdicts) {
  verdicts.look(record.name, [&] {
    checkpoint::verify_file(folder / record.name, record);
    verdicts.add_bytes(record.bytes);
    return blocks_text(record);
  });
}

// Without files if it is damaged. `step`: that its place says, if it says one.
checkpoint::Manifest read_manifest(const fs::path& folder, std::optional<int64_t> step, Verdicts& verdicts) {
  say(folder.string());
  checkpoint::Manifest manifest;
  verdicts.look(kManifest, [&] {
    manifest = checkpoint::read_manifest(folder);
    if (step && manifest.progress.step != *step)
      throw Error((folder / kManifest).string() + " is of step " + std::to_string(manifest.progress.step) +
                  ": the folder was renamed; rename it to " + checkpoint::step_name(manifest.progress.step));
    return "of step " + grouped(manifest.progress.step);
  });
  return manifest;
}

void verify_checkpoint(const fs::path& folder, std::optional<int64_t> step, Verdicts& verdicts) {
  const checkpoint::Manifest manifest = read_manifest(folder, step, verdicts);
  std::set<std::string> known{kManifest};
  for (const checkpoint::FileRecord& record : manifest.files) {
    known.insert(record.name);
    verify_recorded(folder, record, verdicts);
  }
  if (manifest.files.empty()) return;  // nothing is known of the others
  for (const auto& entry : fs::directory_iterator(folder))
    if (const std::string name = entry.path().filename().string(); !known.contains(name))
      say("  unknown  " + name + "  its manifest does not record it");
}

struct Deleted {};

// Held, so that the run's trainer does not delete it while it is read; nothing if it has done so.
std::optional<checkpoint::HeldStep> held(const fs::path& run_dir, int64_t step) {
  try {
    return checkpoint::hold_chosen(run_dir,
                                   [&] { return checkpoint::is_committed(run_dir, step) ? step : throw Deleted(); });
  } catch (const Deleted&) {
    return std::nullopt;
  }
}

void verify_steps(const fs::path& run_dir, std::optional<int64_t> step, Verdicts& verdicts) {
  const RunContents contents = contents_of(run_dir);
  const fs::path folder = checkpoint::checkpoints_folder(run_dir);
  std::vector<std::string> steps;
  for (const CheckpointFacts& facts : contents.checkpoints) {
    steps.push_back(std::to_string(facts.step));
    if (step && *step != facts.step) continue;
    const fs::path place = folder / checkpoint::step_name(facts.step);
    if (const auto hold = held(run_dir, facts.step)) {
      verify_checkpoint(place, facts.step, verdicts);
    } else {
      say(place.string() + "\n  skipped  its trainer has deleted it meanwhile, for newer ones");
    }
  }
  check(!steps.empty(), "--run_dir=" + run_dir.string() + " has no checkpoints: " + folder.string() +
                            " holds no step_… folder with a " + kManifest);
  check(!step || std::ranges::find(steps, std::to_string(*step)) != steps.end(),
        "--step=" + std::to_string(step.value_or(0)) + ": " + run_dir.string() + " has checkpoints of steps " +
            listed(steps));
  if (step) return;
  for (const OtherFolder& other : contents.others)
    say((folder / other.name).string() + "\n  skipped  " + other.what + ": it is never loaded");
}

// `file` of an export, or all of its files.
void verify_export(const fs::path& folder, const std::string& file, Verdicts& verdicts) {
  say(folder.string());
  for (const auto& [name, hash] : read_checksums(folder / kChecksumsFile)) {
    if (!file.empty() && file != name) continue;
    verdicts.look(name, [&, name = name, hash = hash] {
      const fs::path path = folder / name;
      const std::string found = checkpoint::file_hash(path);
      check(found == hash,
            path.string() + " hashes to " + found + ", " + kChecksumsFile + " says " + hash + ": damaged");
      const auto bytes = static_cast<int64_t>(fs::file_size(path));
      verdicts.add_bytes(bytes);
      return bytes_text(bytes);
    });
  }
}

// Whether a weights file can be read, fits its own description, and holds numbers.
void verify_alone(const fs::path& file, Verdicts& verdicts) {
  say("weights file");
  verdicts.look(file.string(), [&] {
    const checkpoint::Weights weights = checkpoint::load_weights_file(file);
    for (const auto& [name, tensor] : models::named_parameters(*weights.net))
      check(tensor.isfinite().all().item<bool>(),
            file.string() + ": tensor '" + name + "' holds numbers that are not finite");
    const auto bytes = static_cast<int64_t>(fs::file_size(file));
    verdicts.add_bytes(bytes);
    return bytes_text(bytes) + ", XXH3-128 " + weights.hash + ": " + checkpoint::weights_name(weights.info) +
           " of step " + grouped(weights.info.step) +
           ". Nothing beside it records its hash: it was only shown to be readable";
  });
}

bool records(const fs::path& folder, const std::string& file) {
  const auto sums = read_checksums(folder / kChecksumsFile);
  return sums.contains(file);
}

void verify_weights_file(const fs::path& file, Verdicts& verdicts) {
  const fs::path folder = file.has_parent_path() ? file.parent_path() : ".";
  const std::string name = file.filename().string();
  if (fs::exists(folder / kManifest)) {
    const checkpoint::Manifest manifest = read_manifest(folder, std::nullopt, verdicts);
    const auto record = std::ranges::find(manifest.files, name, &checkpoint::FileRecord::name);
    if (record != manifest.files.end()) return verify_recorded(folder, *record, verdicts);
  }
  if (fs::exists(folder / kChecksumsFile) && records(folder, name)) return verify_export(folder, name, verdicts);
  verify_alone(file, verdicts);
}

void verify_path(const fs::path& path, Verdicts& verdicts) {
  check(fs::exists(path), path.string() + ": there is no such file or folder");
  if (!fs::is_directory(path)) return verify_weights_file(path, verdicts);
  if (fs::exists(path / kManifest)) return verify_checkpoint(path, std::nullopt, verdicts);
  if (fs::exists(path / kChecksumsFile)) return verify_export(path, "", verdicts);
  check(fs::is_directory(checkpoint::checkpoints_folder(path)),
        path.string() + " is no run (checkpoints/), no checkpoint (" + kManifest + ") and no export (" +
            kChecksumsFile + "): give the path of one, or of a weights file");
  verify_steps(path, std::nullopt, verdicts);
}

}  // namespace

ExitCode verify_run(const fs::path& run_dir, std::optional<int64_t> step) {
  Verdicts verdicts;
  verify_steps(run_dir, step, verdicts);
  return verdicts.summary();
}

ExitCode verify_paths(const std::vector<fs::path>& paths) {
  Verdicts verdicts;
  for (const fs::path& path : paths) verify_path(path, verdicts);
  return verdicts.summary();
}

}  // namespace cfm::keeper
