#pragma once
#include <filesystem>
#include <optional>

namespace cfm::keeper {

struct ExportJob {
  std::filesystem::path run_dir;
  std::optional<int64_t> step;  // none: the newest
  std::filesystem::path out;    // is made
};

// Makes `out`, by a rename when it is whole: the weights of one checkpoint, verified before and behind the copy;
// train.flags, a flagfile that trains like it; results/ of that step as they are; README.md, a model card; XXH128SUMS.
// Error(kWontWork) if `out` is there, the checkpoint is not, or one of its weights files is damaged. The checkpoint is
// held meanwhile (checkpoint/readers.h).
void export_checkpoint(const ExportJob& job);

}  // namespace cfm::keeper
