#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/hash.h"

namespace cfm::checkpoint {

inline constexpr int64_t kHashBlock = 64 << 20;

// XXH3-128 of each kHashBlock bytes of a stream, as the manifest records them; the last block is shorter.
class BlockHasher {
 public:
  void update(const void* bytes, int64_t size);
  std::vector<std::string> finish();

 private:
  void end_block();
  std::optional<Xxh3> current_;
  int64_t filled_ = 0;  // of the current block
  std::vector<std::string> hashes_;
};

}  // namespace cfm::checkpoint
