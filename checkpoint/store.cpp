#include "checkpoint/store.h"

#include <algorithm>
#include <cassert>
#include <charconv>
#include <iomanip>
#include <set>
#include <sstream>
#include <system_error>

#include "base/durable_file.h"
#include "base/log.h"
#include "checkpoint/background_save.h"
#include "checkpoint/replicated_save.h"
#include "checkpoint/retention.h"

namespace cfm::checkpoint {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kStepPrefix = "step_", kDamaged = ".damaged";
constexpr const char* kManifest = "manifest.json";

std::vector<std::string> names_in(const fs::path& folder) {
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

// Steps of all folders called step_…, whole or not, ascending.
std::vector<int64_t> steps_in(const fs::path& folder) {
  std::vector<int64_t> steps;
  for (const std::string& name : names_in(folder)) {
    if (const int64_t step = step_of(name); step >= 0) steps.push_back(step);
  }
  std::ranges::sort(steps);
  return steps;
}

// What the file system refuses (a std::filesystem_error, no memory) becomes an Error that may be transient.
template <typename Work>
auto as_error(const Work& work) {
  try {
    return work();
  } catch (const Error&) {
    throw;
  } catch (const std::exception& e) {
    throw Error(e.what(), ExitCode::kRetry);
  }
}

Writer of_rank_0(const Writer& writer, const parallel::Communicator& control) {
  return {.job = control.broadcast(writer.job), .attempt = control.broadcast(writer.attempt)};
}

}  // namespace

Problems StoreConfig::validate() const {
  Problems problems;
  if (run_dir.empty()) problems.emplace_back("--run_dir is empty: give the folder of the run");
  if (keep_last < 0) problems.push_back("--keep_last=" + std::to_string(keep_last) + ": expected 0 (keep all) or more");
  if (keep_every < 0) problems.push_back("--keep_every=" + std::to_string(keep_every) + ": expected 0 (none) or more");
  if (keep_unevaluated < 0)
    problems.push_back("--keep_unevaluated=" + std::to_string(keep_unevaluated) + ": expected 0 (none) or more");
  return problems;
}

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
  std::error_code error;
  return fs::exists(checkpoints_folder(run_dir) / step_name(step) / kManifest, error);
}

std::vector<int64_t> committed_steps(const fs::path& run_dir) {
  std::vector<int64_t> steps = steps_in(checkpoints_folder(run_dir));
  std::erase_if(steps, [&](int64_t step) { return !is_committed(run_dir, step); });
  return steps;
}

Manifest read_manifest(const fs::path& checkpoint_dir) {
  const fs::path file = checkpoint_dir / kManifest;
  return manifest_from_json(read_file(file), file.string());
}

void verify_checkpoint(const fs::path& checkpoint_dir, const Manifest& manifest) {
  for (const FileRecord& file : manifest.files) verify_file(checkpoint_dir / file.name, file);
}

Store::Store(const StoreConfig& config, const parallel::MpiSession& session)
    : config_(config),
      session_(session),
      saves_(session.duplicate()),
      writer_(of_rank_0(this_writer(session.host()), session.control())),
      retention_(std::make_unique<Retention>(config_)) {
  check_no_problems(config.validate());
}

Store::~Store() = default;

fs::path Store::checkpoint_dir(int64_t step) const { return checkpoints_folder(config_.run_dir) / step_name(step); }

void Store::save(std::vector<Part> parts, Manifest manifest) {
  assert(!under_way_);
  const int64_t step = manifest.progress.step;
  if (step == last_step_) return;
  last_step_ = step_under_way_ = step;
  under_way_ = std::make_unique<BackgroundSave>(
      [this, step, parts = std::move(parts), manifest = std::move(manifest)](const SaveProgress& progress) {
        const SaveContext context{.config = config_,
                                  .session = session_,
                                  .over = saves_,
                                  .snapshot = snapshot_,
                                  .unfinished = unfinished_folder(checkpoint_dir(step), writer_)};
        save_replicated(context, parts, manifest, progress);
        if (session_.rank() == 0) retention_->apply();
      });
}

void Store::await_copy() {
  if (under_way_) under_way_->await_copy();
}

bool Store::ended() const { return under_way_ && under_way_->ended(); }

std::optional<SaveOutcome> Store::collect(const std::function<void()>& moves) {
  if (!under_way_) return std::nullopt;
  const std::unique_ptr<BackgroundSave> save = std::move(under_way_);
  SaveOutcome outcome{.step = step_under_way_, .problem = "", .seconds = 0};
  try {
    save->wait(moves);
  } catch (const RunMustEnd&) {
    throw;
  } catch (const SharedError& e) {
    outcome.problem = e.what();
    last_step_ = -1;
  }
  outcome.seconds = save->seconds();
  return outcome;
}

void Store::clean_up() const {
  const fs::path folder = checkpoints_folder(config_.run_dir);
  for (const std::string& name : names_in(folder)) {
    if (!name.starts_with(kStepPrefix) || !name.ends_with(kUnfinished)) continue;
    if (!is_abandoned(folder / name, writer_, session_.host())) {
      warn((folder / name).string() +
           " is a save of another job that may be under way: left alone until nothing in it has changed for an hour");
      continue;
    }
    std::error_code error;
    fs::remove_all(folder / name, error);
    warn(error ? "cannot remove " + (folder / name).string() + ": " + error.message()
               : "removed " + (folder / name).string() + ", left by a save that was interrupted");
  }
}

void Store::quarantine(int64_t step, const std::string& why) const {
  const fs::path from = checkpoint_dir(step);
  fs::path to = from.string() + std::string(kDamaged);
  for (int number = 2; fs::exists(to); ++number) to = from.string() + std::string(kDamaged) + std::to_string(number);
  rename_durably(from, to);
  warn(why + ". Set aside as " + to.string() + "; looking at the checkpoint before it");
}

std::string Store::newest_intact_manifest() const {
  const fs::path folder = checkpoints_folder(config_.run_dir);
  const std::vector<int64_t> steps = steps_in(folder);
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
    const fs::path file = checkpoint_dir(*step) / kManifest;
    if (!fs::exists(file)) {
      quarantine(*step, checkpoint_dir(*step).string() + " has no " + kManifest + ": damaged");
      continue;
    }
    std::string json = read_file(file);
    if (manifest_is_intact(json)) {
      const int64_t recorded = manifest_from_json(json, file.string()).progress.step;
      check(recorded == *step, file.string() + " is of step " + std::to_string(recorded) +
                                   ": the folder was renamed; rename it to " + step_name(recorded));
      return json;
    }
    quarantine(*step, file.string() + " is damaged");
  }
  for (const std::string& name : names_in(folder)) {
    check(name.find(kDamaged) == std::string::npos,
          "every checkpoint in " + folder.string() + " is damaged (" + name +
              " among them): repair one and rename it back, " +
              "or move the damaged ones away to start this run again from nothing");
  }
  return "";
}

std::optional<Manifest> Store::load_newest(const std::vector<Part>& parts,
                                           const std::function<void(const Manifest&)>& accept) {
  const bool leads = session_.rank() == 0;
  parallel::agree_on(session_, [&] {
    if (leads) as_error([&] { clean_up(); });
  });
  for (;;) {
    std::string json;
    parallel::agree_on(session_, [&] {
      if (leads) as_error([&] { json = newest_intact_manifest(); });
    });
    json = session_.control().broadcast(json);
    if (json.empty()) return std::nullopt;

    std::optional<Manifest> manifest;
    parallel::agree_on(session_, [&] {
      manifest = manifest_from_json(json, "the newest manifest in " + checkpoints_folder(config_.run_dir).string());
      if (accept) accept(*manifest);
    });
    const int64_t step = manifest->progress.step;
    bool damaged = false;
    parallel::agree_on(session_, [&] {
      if (!leads) return;
      as_error([&] {
        try {
          verify_checkpoint(checkpoint_dir(step), *manifest);
        } catch (const Error& e) {
          if (e.exit_code() != ExitCode::kWontWork) throw;  // unreadable for now is not damaged
          damaged = true;
          quarantine(step, e.what());
        }
      });
    });
    if (session_.control().any(damaged)) continue;

    parallel::agree_on(session_, [&] { as_error([&] { load(parts, *manifest); }); });
    last_step_ = step;
    return manifest;
  }
}

// Every rank reads the files itself; those that have not verified them do so now, on what their own machine reads.
void Store::load(const std::vector<Part>& parts, const Manifest& manifest) const {
  const fs::path dir = checkpoint_dir(manifest.progress.step);
  std::map<std::string, FileRecord> records;
  for (const FileRecord& file : manifest.files) records.emplace(file.name, file);
  for (const Part& part : parts) {
    const auto record = records.extract(part.file_name());
    check(!record.empty(), dir.string() + " holds no " + part.name +
                               ".safetensors, which this run needs: start with the flags " +
                               "that the checkpoint was made with");
    if (session_.rank() != 0) verify_file(dir / record.key(), record.mapped());
    load_tensors(read_safetensors(dir / record.key()).tensors, part.tensors, (dir / record.key()).string());
  }
  if (session_.rank() != 0) return;
  for (const auto& [name, record] : records)
    warn((dir / name).string() + " is not used by this run and will not be continued");
}

}  // namespace cfm::checkpoint
