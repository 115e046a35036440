#include "checkpoint/store.h"

#include <cassert>
#include <map>
#include <system_error>
#include <utility>

#include "base/durable_file.h"
#include "base/log.h"
#include "checkpoint/background_save.h"
#include "checkpoint/replicated_save.h"
#include "checkpoint/retention.h"

namespace cfm::checkpoint {
namespace {

namespace fs = std::filesystem;

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
  undeleted_.clear();
  under_way_ = std::make_unique<BackgroundSave>(
      [this, step, parts = std::move(parts), manifest = std::move(manifest)](const SaveProgress& progress) {
        const SaveContext context{.config = config_,
                                  .session = session_,
                                  .over = saves_,
                                  .snapshot = snapshot_,
                                  .unfinished = unfinished_folder(checkpoint_dir(step), writer_)};
        save_replicated(context, parts, manifest, progress);
        if (session_.rank() == 0) undeleted_ = retention_->apply();
      });
}

void Store::await_copy() {
  if (under_way_) under_way_->await_copy();
}

bool Store::ended() const { return under_way_ && under_way_->ended(); }

std::optional<SaveOutcome> Store::collect(const std::function<void()>& moves) {
  if (!under_way_) return std::nullopt;
  const std::unique_ptr<BackgroundSave> save = std::move(under_way_);
  SaveOutcome outcome{.step = step_under_way_, .problem = "", .seconds = 0, .undeleted = {}};
  try {
    save->wait(moves);
  } catch (const RunMustEnd&) {
    throw;
  } catch (const SharedError& e) {
    outcome.problem = e.what();
    last_step_ = -1;
  }
  outcome.seconds = save->seconds();
  outcome.undeleted = undeleted_;
  return outcome;
}

void Store::clean_up() const {
  const fs::path folder = checkpoints_folder(config_.run_dir);
  for (const std::string& name : checkpoint_names(config_.run_dir)) {
    if (!name.starts_with(kStepPrefix) || !name.ends_with(kUnfinished)) continue;
    if (!is_abandoned(folder / name, writer_, session_.host())) {
      warn((folder / name).string() +
           " is a save of another job that may be under way: left alone until nothing in it has changed for an hour");
      continue;
    }
    refuse_unless_held(config_.ownership(), config_.run_dir, (folder / name).string() + " is not removed");
    std::error_code error;
    fs::remove_all(folder / name, error);
    warn(error ? "cannot remove " + (folder / name).string() + ": " + error.message()
               : "removed " + (folder / name).string() + ", left by a save that was interrupted");
  }
}

void Store::quarantine(int64_t step, const std::string& why) const {
  const fs::path from = checkpoint_dir(step);
  refuse_unless_held(config_.ownership(), config_.run_dir, "the damaged " + from.string() + " is not set aside");
  fs::path to = from.string() + std::string(kDamaged);
  for (int number = 2; fs::exists(to); ++number) to = from.string() + std::string(kDamaged) + std::to_string(number);
  rename_durably(from, to);
  warn(why + ". Set aside as " + to.string() + "; looking at the checkpoint before it");
}

std::string Store::newest_to_load() const {
  std::string json =
      newest_intact_manifest(config_.run_dir, [&](int64_t step, const std::string& why) { quarantine(step, why); });
  if (json.empty()) refuse_damaged_ones_only(config_.run_dir);
  return json;
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
      if (leads) as_error([&] { json = newest_to_load(); });
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
      try {
        reading(config_.run_dir, [&] { verify_checkpoint(checkpoint_dir(step), *manifest); });
      } catch (const Error& e) {
        if (e.exit_code() != ExitCode::kWontWork) throw;  // unreadable for now is not damaged
        damaged = true;
        as_error([&] { quarantine(step, e.what()); });
      }
    });
    if (session_.control().any(damaged)) continue;

    parallel::agree_on(session_, [&] { reading(config_.run_dir, [&] { load(parts, *manifest); }); });
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
    if (session_.rank() != 0) verify_after_rank_0(dir / record.key(), record.mapped());
    load_tensors(read_safetensors(dir / record.key()).tensors, part.tensors, (dir / record.key()).string());
  }
  if (session_.rank() != 0) return;
  for (const auto& [name, record] : records)
    warn((dir / name).string() + " is not used by this run and will not be continued");
}

}  // namespace cfm::checkpoint
