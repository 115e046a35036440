#pragma once
// RUN/checkpoints/step_000012000/: committed by rename, verified on load, the one before taken when the last is
// damaged.

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "checkpoint/manifest.h"
#include "checkpoint/safetensors.h"
#include "parallel/mpi_session.h"

namespace cfm::checkpoint {

// One file of a checkpoint: "model", "ema_0.9999", "exp_avg", ... (without .safetensors).
struct Part {
  std::string name;
  NamedTensors tensors;
  Metadata metadata;
};

struct StoreConfig {
  std::filesystem::path run_dir;
  int64_t keep_last = 2;                                    // 0: keep all
  int64_t keep_every = 0;                                   // never delete steps that are multiples of this; 0: none
  std::function<bool()> still_owned = [] { return true; };  // asked on rank 0 before anything in the run is changed
  Problems validate() const;
};

std::string step_name(int64_t step);  // "step_000012000"

// RUN/checkpoints
std::filesystem::path checkpoints_folder(const std::filesystem::path& run_dir);

// Steps of committed checkpoints (a manifest.json in a step_ folder), ascending.
std::vector<int64_t> committed_steps(const std::filesystem::path& run_dir);

// Reads and verifies the manifest of one committed checkpoint.
Manifest read_manifest(const std::filesystem::path& checkpoint_dir);
// Hashes every file of the manifest; Error on the first that differs.
void verify_checkpoint(const std::filesystem::path& checkpoint_dir, const Manifest& manifest);

class Store {
 public:
  Store(const StoreConfig& config, const parallel::MpiSession& session);

  // Rank 0 writes step_….<job>.<attempt>.tmp/ (checkpoint/unfinished.h), fsyncs, renames; then retention. All ranks
  // return, or all throw SharedError: kWontWork if the run is another's now, kRetry otherwise. A failed save leaves
  // earlier checkpoints as they are and removes its own .tmp. `manifest.files` is filled here. The step that was loaded
  // or saved last is not written again. Collective.
  void save(const std::vector<Part>& parts, Manifest manifest);

  // The newest checkpoint whose hashes hold, loaded into `parts` (by name) on every rank; nothing if there has been
  // none. A damaged one is renamed to step_….damaged by rank 0 and said aloud; SharedError if only damaged ones are
  // left (nobody's run starts again from nothing unasked). `accept` sees the manifest before anything is verified or
  // loaded and may throw to refuse it (that is not damage). Leftovers of saves that nobody will finish are removed
  // first. Collective.
  std::optional<Manifest> load_newest(const std::vector<Part>& parts,
                                      const std::function<void(const Manifest&)>& accept);

 private:
  StoreConfig config_;
  const parallel::MpiSession& session_;
  int64_t last_step_ = -1;  // loaded or saved last

  std::filesystem::path checkpoint_dir(int64_t step) const;
  void clean_up() const;
  void write_and_commit(const std::vector<Part>& parts, Manifest manifest) const;
  void retain() const;
  void quarantine(int64_t step, const std::string& why) const;
  std::string newest_intact_manifest() const;  // JSON text; empty if there is no checkpoint
  void load(const std::vector<Part>& parts, const Manifest& manifest) const;
};

}  // namespace cfm::checkpoint
