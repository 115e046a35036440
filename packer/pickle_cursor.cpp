#include "packer/pickle_cursor.h"

#include <algorithm>

#include "base/error.h"

namespace cfm::packer {
namespace {

constexpr uint64_t kWindow = 1 << 16, kLongestLine = 256;

}  // namespace

uint8_t PickleCursor::byte() {
  if (at_ < window_at_ || at_ - window_at_ >= window_.size()) {
    if (at_ >= pickle_.size)
      throw Error(pickle_.name + " is truncated: the pickle goes on at byte " + std::to_string(at_) + ".");
    window_.resize(std::min(kWindow, pickle_.size - at_));
    window_at_ = at_;
    data::read_at(pickle_, at_, window_);
  }
  return window_[at_++ - window_at_];
}

uint64_t PickleCursor::number(size_t bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < bytes; ++i) value |= uint64_t{byte()} << (8 * i);
  return value;
}

std::string PickleCursor::line() {
  std::string text;
  for (char c = 0; (c = static_cast<char>(byte())) != '\n';) {
    text += c;
    if (text.size() > kLongestLine) throw Error(place() + ": the name of a global without an end.");
  }
  return text;
}

void PickleCursor::skip(uint64_t bytes) {
  if (bytes > pickle_.size - at_)
    throw Error(pickle_.name + " is truncated: " + std::to_string(bytes) + " bytes are expected at byte " +
                std::to_string(at_) + ", it has " + std::to_string(pickle_.size) + ".");
  at_ += bytes;
}

}  // namespace cfm::packer
