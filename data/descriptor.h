#pragma once
#include <utility>

namespace cfm::data {

// An open file descriptor, closed at the end; -1: none.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int open) : number_(open) {}
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~Descriptor();
  int number() const { return number_; }
  bool is_open() const { return number_ >= 0; }

 private:
  int number_ = -1;
};

}  // namespace cfm::data
