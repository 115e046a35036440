#pragma once
// RUN/checkpoints/step_000012000/: committed by rename, verified on load, the one before taken when the last is
// damaged.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/lease.h"
#include "checkpoint/committed.h"
#include "checkpoint/manifest.h"
#include "checkpoint/snapshot.h"
#include "checkpoint/unfinished.h"
#include "parallel/mpi_session.h"

namespace cfm::checkpoint {

struct StoreConfig {
  std::filesystem::path run_dir;
  int64_t keep_last = 2;         // 0: keep all
  int64_t keep_every = 0;        // never delete steps that are multiples of this; 0: none
  int64_t keep_unevaluated = 4;  // so many more while a job that follows the run lags
  // Of the run: asked on rank 0, by any thread, before anything in it is changed.
  std::function<Lease::State()> ownership = [] { return Lease::State::kHeld; };
  LeaseTimes reader_times = {};  // when a job that reads checkpoints shows no life any more
  Problems validate() const;
};

// How a save ended: step and problem are the same on all ranks.
struct SaveOutcome {
  int64_t step = 0;
  std::string problem;  // why it failed; empty: it is committed
  double seconds = 0;   // from save() to its end, retention included
  Problems undeleted;   // old checkpoints that could not be deleted behind it, and why; rank 0's
};

class BackgroundSave;
class Retention;

class Store {
 public:
  Store(const StoreConfig& config, const parallel::MpiSession& session);  // collective: makes its own communicator
  ~Store();  // waits for a save under way; collect() first, unless the run ends by an exception

  // Begins a save on threads of its own (checkpoint/replicated_save.h), then retention. `parts` are read until
  // await_copy() returns: they must not change before. `manifest.files` is filled there. The step that was loaded or
  // saved last is not written again. REQUIRES: no save is under way. Collective.
  void save(std::vector<Part> parts, Manifest manifest);
  // Returns when the save under way has what it needs of its parts; at once if there is none.
  void await_copy();
  // Whether a save is under way, and this rank's part in it done.
  bool ended() const;
  // Waits for the end of the save under way; nothing if there is none. A failed one leaves earlier checkpoints as they
  // are, and nothing of its own. `moves` is called now and then while it moves. All ranks return the same, or all throw
  // RunMustEnd (a SharedError). Collective.
  std::optional<SaveOutcome> collect(const std::function<void()>& moves = [] {});

  // The newest checkpoint whose hashes hold, loaded into `parts` (by name) on every rank; nothing if there has been
  // none. A damaged one is renamed to step_….damaged by rank 0 and said aloud; SharedError if only damaged ones are
  // left (nobody's run starts again from nothing unasked). `accept` sees the manifest before anything is verified or
  // loaded and may throw to refuse it (that is not damage). Leftovers of saves that nobody will finish are removed
  // first. SharedError(kRetry), with everything left as it is, if the newest cannot be read for now, or if a rank reads
  // other bytes than rank 0, which has found them whole. Collective.
  std::optional<Manifest> load_newest(const std::vector<Part>& parts,
                                      const std::function<void(const Manifest&)>& accept);

 private:
  const StoreConfig config_;
  const parallel::MpiSession& session_;
  const parallel::Communicator saves_;
  const Writer writer_;     // rank 0's, on all ranks
  int64_t last_step_ = -1;  // loaded or saved last
  Snapshot snapshot_;
  const std::unique_ptr<Retention> retention_;  // rank 0's, of the thread of the save under way
  Problems undeleted_;                          // the same
  int64_t step_under_way_ = -1;
  std::unique_ptr<BackgroundSave> under_way_;  // last: it uses all of the above

  std::filesystem::path checkpoint_dir(int64_t step) const;
  void clean_up() const;
  void quarantine(int64_t step, const std::string& why) const;
  std::string newest_to_load() const;  // a manifest's JSON text; empty if there is no checkpoint
  void load(const std::vector<Part>& parts, const Manifest& manifest) const;
};

}  // namespace cfm::checkpoint
