#pragma once
// XXH3-128 of bytes, as 32 lower-case hex digits (canonical big-endian order, as `xxhsum -H2` prints it).

#include <cstddef>
#include <memory>
#include <string>

namespace cfm {

std::string xxh3_128_hex(const void* bytes, size_t size);

// The same hash over pieces: update as often as you like, then read hex().
class Xxh3 {
 public:
  Xxh3();
  ~Xxh3();
  Xxh3(const Xxh3&) = delete;
  Xxh3& operator=(const Xxh3&) = delete;
  void update(const void* bytes, size_t size);
  std::string hex() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cfm
