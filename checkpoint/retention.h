#pragma once
#include "checkpoint/store.h"

namespace cfm::checkpoint {

// Deletes committed checkpoints but the newest --keep_last (0: none is deleted) and the multiples of --keep_every: each
// by a rename to a name that is never loaded, then its removal. Nothing if the run is another's now; what cannot be
// deleted is said.
void retain(const StoreConfig& config);

}  // namespace cfm::checkpoint
