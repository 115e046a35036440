#pragma once
// A save of a state that every rank holds: what happens between its request and its commit.

#include <filesystem>
#include <vector>

#include "base/error.h"
#include "checkpoint/background_save.h"
#include "checkpoint/manifest.h"
#include "checkpoint/ownership.h"
#include "checkpoint/snapshot.h"
#include "checkpoint/store.h"
#include "parallel/mpi_session.h"

namespace cfm::checkpoint {

struct SaveContext {
  const StoreConfig& config;
  const parallel::MpiSession& session;
  const parallel::Communicator& over;  // all ranks of the session, for saves alone
  Snapshot& snapshot;
  std::filesystem::path unfinished;  // the same on all ranks
};

// Every rank copies the files that it writes, and hashes all; the hashes show that the ranks hold the same state; up to
// four ranks write and fsync their files into `unfinished`; rank 0 writes the manifest, asks whether the run is still
// its own, fsyncs, renames: the commit. All ranks return, or all throw the same: RunMustEnd, or SharedError(kRetry)
// after a write that failed, which leaves nothing of it. `manifest.files` is filled here. Collective over `over`.
void save_replicated(const SaveContext& context, const std::vector<Part>& parts, Manifest manifest,
                     const SaveProgress& progress);

}  // namespace cfm::checkpoint
