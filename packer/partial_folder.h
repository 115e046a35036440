#pragma once
#include <filesystem>
#include <memory>
#include <string>

#include "base/file_lock.h"
#include "packer/packing.h"
#include "parallel/mpi_session.h"

namespace cfm::packer {

// FOLDER.partial, in which the finished shards of one packing collect, over any number of starts, until it takes
// FOLDER's place as a whole. Beside the shards stand packing.json, which says of what packing they are, and
// packing.lock, on which every rank holds a lock, so that nothing else works here as long as one rank of a job lives.
class PartialFolder {
 public:
  // Collective. Error
  //   if FOLDER, FOLDER.partial or FOLDER.old holds anything but what cfm_pack puts there: such a folder is never
  //     replaced, whoever named it;
  //   if FOLDER.partial holds shards of another packing, naming the first setting that differs: `start_again` removes
  //     them instead;
  //   (kRetry) if another cfm_pack works in it.
  // What a killed job had not finished is removed.
  PartialFolder(std::filesystem::path folder, const Packing& packing, bool start_again,
                const parallel::MpiSession& session);
  std::filesystem::path place() const { return folder_.string() + ".partial"; }
  // Renames place() to FOLDER, removing what stood there. On one rank, when all are done with place().
  void commit();

 private:
  std::filesystem::path old() const { return folder_.string() + ".old"; }
  void prepare(const Packing& packing, bool start_again);
  const std::filesystem::path folder_;
  std::unique_ptr<FileLock> lock_;
};

}  // namespace cfm::packer
