#include "checkpoint/block_hasher.h"

#include <algorithm>
#include <utility>

namespace cfm::checkpoint {

void BlockHasher::update(const void* bytes, int64_t size) {
  const char* at = static_cast<const char*>(bytes);
  while (size > 0) {
    if (!current_) current_.emplace();
    const int64_t piece = std::min(size, kHashBlock - filled_);
    current_->update(at, static_cast<size_t>(piece));
    filled_ += piece;
    at += piece;
    size -= piece;
    if (filled_ == kHashBlock) end_block();
  }
}

std::vector<std::string> BlockHasher::finish() {
  if (current_) end_block();
  return std::exchange(hashes_, {});
}

void BlockHasher::end_block() {
  hashes_.push_back(current_->hex());
  current_.reset();
  filled_ = 0;
}

}  // namespace cfm::checkpoint
