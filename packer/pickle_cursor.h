#pragma once
// A place in a pickle that moves forward. Private to pickle.cpp.

#include <cstdint>
#include <string>
#include <vector>

#include "data/byte_source.h"

namespace cfm::packer {

class PickleCursor {
 public:
  explicit PickleCursor(const data::ByteSource& pickle) : pickle_(pickle) {}
  uint64_t at() const { return at_; }
  uint8_t byte();
  uint64_t number(size_t bytes);  // little-endian, unsigned
  std::string line();             // up to a newline, which is skipped
  void skip(uint64_t bytes);
  // The bytes from `offset` on, wherever the cursor is.
  std::string text(uint64_t offset, uint64_t size) const { return data::text_at(pickle_, offset, size); }
  // "byte 17 of data_batch_1"
  std::string place() const { return "byte " + std::to_string(at_) + " of " + pickle_.name; }

 private:
  const data::ByteSource& pickle_;
  uint64_t at_ = 0, window_at_ = 0;
  std::vector<uint8_t> window_;
};

}  // namespace cfm::packer
