#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/file_lock.h"
#include "base/ranks.h"
#include "data/shard.h"

namespace cfm::data {

// Copies of a node's own files on its local disk, for as long as this lives.
class Staging {
 public:
  // Copies `shards` (those of this node alone; its ranks share the work) to folder/cfm-<name>-node<n>/ and opens them
  // there. A copy is checked by its hashes, or against what was read where a file brings none; one that an earlier job
  // left and that checks out is kept. Throws Error if there is no room, or another job stages there; what `mind_stop`
  // throws, which is called before each piece that is copied. Collective.
  Staging(const std::filesystem::path& folder, const std::string& name, const std::vector<Shard*>& shards,
          const Ranks& ranks, const std::function<void()>& mind_stop);
  ~Staging();  // removes the copies: this node's first rank does, when it is done
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;
  const std::filesystem::path& folder() const { return folder_; }

 private:
  void take_folder(const std::vector<Shard*>& shards);
  void remove_copies();

  std::filesystem::path folder_;
  std::unique_ptr<FileLock> lock_;  // of this node's first rank, which removes the copies
};

}  // namespace cfm::data
