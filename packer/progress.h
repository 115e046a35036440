#pragma once
#include <chrono>
#include <cstdint>
#include <string>

namespace cfm::packer {

// One live line on a terminal, a plain line every 30 s in a log.
class Progress {
 public:
  explicit Progress(int64_t images);
  ~Progress();  // ends the live line
  void add(int64_t images);

 private:
  std::string line() const;
  using Clock = std::chrono::steady_clock;
  int64_t total_, done_ = 0;
  bool terminal_, shown_ = false;
  Clock::time_point start_ = Clock::now(), last_ = start_;
};

// "1,281,167"
std::string grouped(int64_t number);

}  // namespace cfm::packer
