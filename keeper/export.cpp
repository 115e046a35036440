#include "keeper/export.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "base/durable_file.h"
#include "base/error.h"
#include "base/grouped_number.h"
#include "base/log.h"
#include "checkpoint/readers.h"
#include "checkpoint/store.h"
#include "checkpoint/weights.h"
#include "keeper/checksums.h"
#include "keeper/model_card.h"
#include "keeper/text.h"
#include "keeper/train_flags.h"

namespace cfm::keeper {
namespace {

namespace fs = std::filesystem;

int64_t chosen_step(const ExportJob& job) {
  check(fs::is_directory(job.run_dir), "--run_dir=" + job.run_dir.string() + ": there is no such folder");
  const std::vector<int64_t> steps = checkpoint::committed_steps(job.run_dir);
  check(!steps.empty(), "--run_dir=" + job.run_dir.string() + " has no checkpoints");
  if (!job.step) return steps.back();
  std::vector<std::string> names;
  names.reserve(steps.size());
  for (const int64_t step : steps) names.push_back(std::to_string(step));
  check(std::ranges::find(steps, *job.step) != steps.end(), "--step=" + std::to_string(*job.step) + ": " +
                                                                job.run_dir.string() + " has checkpoints of steps " +
                                                                listed(names));
  return *job.step;
}

bool holds_weights(const std::string& name) {
  return name == "model.safetensors" || (name.starts_with("ema_") && name.ends_with(".safetensors"));
}

// A copy whose bytes are those that the manifest records, on the disk.
void copy_verified(const fs::path& from, const fs::path& to, const checkpoint::FileRecord& record) {
  checkpoint::verify_file(from / record.name, record);
  fs::copy_file(from / record.name, to / record.name);
  checkpoint::verify_file(to / record.name, record);
  fsync_file(to / record.name);
}

// Raw first, then by decay.
std::vector<ExportedWeights> copy_weights(const fs::path& from, const fs::path& to,
                                          const checkpoint::Manifest& manifest) {
  std::vector<ExportedWeights> weights;
  for (const checkpoint::FileRecord& record : manifest.files) {
    if (!holds_weights(record.name)) continue;
    copy_verified(from, to, record);
    const fs::path file = to / record.name;
    weights.push_back({record, checkpoint::weights_info(checkpoint::read_safetensors_metadata(file), file.string())});
  }
  check(!weights.empty(), from.string() + " holds no weights");
  std::ranges::stable_sort(weights, {}, [](const ExportedWeights& file) { return file.info.ema_decay; });
  return weights;
}

// The results of this step, with their tables.
std::vector<ResultFacts> copy_results(const ExportJob& job, int64_t step, const fs::path& to) {
  std::vector<ResultFacts> results = results_in(job.run_dir);
  std::erase_if(results, [step](const ResultFacts& result) { return result.step != step; });
  if (!results.empty()) fs::create_directories(to);
  for (ResultFacts& result : results) {
    fs::path table = result.file;
    table.replace_extension(".csv");
    for (const fs::path& file : {result.file, table}) {
      if (!fs::exists(file)) continue;
      fs::copy_file(file, to / file.filename());
      fsync_file(to / file.filename());
    }
    result.file = to / result.file.filename();
  }
  if (!results.empty()) fsync_directory(to);
  return results;
}

int64_t parameters_of(const models::UNetConfig& model) {
  int64_t count = 0;
  for (const auto& [name, shape] : models::parameter_shapes(model)) {
    int64_t numbers = 1;
    for (const int64_t size : shape) numbers *= size;
    count += numbers;
  }
  return count;
}

void fill(const ExportJob& job, int64_t step, const fs::path& folder) {
  const fs::path from = checkpoint::checkpoints_folder(job.run_dir) / checkpoint::step_name(step);
  const std::string run = fs::weakly_canonical(job.run_dir).filename().string();
  CardContents contents{.name = run, .manifest = checkpoint::read_manifest(from), .weights = {}, .results = {}};
  contents.weights = copy_weights(from, folder, contents.manifest);
  contents.parameters = parameters_of(contents.weights.front().info.model);
  contents.results = copy_results(job, step, folder / "results");
  write_durably(folder / "train.flags", train_flags_text(contents.manifest, run + ", step " + std::to_string(step)));
  write_durably(folder / "README.md", model_card(contents));
  write_durably(folder / kChecksumsFile, checksums_text(folder));
  fsync_directory(folder);
}

}  // namespace

void export_checkpoint(const ExportJob& job) {
  check(!fs::exists(job.out), "--out=" + job.out.string() + " is there already: give another name, or remove it");
  const auto [step, hold] = checkpoint::hold_chosen(job.run_dir, [&] { return chosen_step(job); });
  fs::path unfinished = job.out;
  if (!unfinished.has_filename()) unfinished = unfinished.parent_path();  // DIR/
  const fs::path out = unfinished;
  unfinished += ".tmp";
  fs::remove_all(unfinished);  // of an export that was interrupted
  fs::create_directories(unfinished);
  try {
    fill(job, step, unfinished);
    rename_durably(unfinished, out);
  } catch (...) {
    std::error_code ignored;
    fs::remove_all(unfinished, ignored);
    throw;
  }
  int64_t files = 0, bytes = 0;
  for (const auto& entry : fs::recursive_directory_iterator(out)) {
    if (!entry.is_regular_file()) continue;
    ++files;
    bytes += static_cast<int64_t>(entry.file_size());
  }
  say("exported    " + checkpoint::step_name(step) + " of " + job.run_dir.string() + " to " + out.string() + ": " +
      counted(files, "file") + ", " + bytes_text(bytes));
  say("check       cd " + out.string() + " && xxhsum -c " + kChecksumsFile + ", or cfm_checkpoint verify " +
      out.string());
}

}  // namespace cfm::keeper
