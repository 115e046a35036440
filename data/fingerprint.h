#pragma once
#include <cstdint>
#include <span>
#include <string>

namespace cfm::data {

// Which images, whatever their order and files: the sum modulo 2^128 of the XXH3-128 of (pixels CHW, label as 8 bytes
// little-endian) of every image. The same images and labels give the same sum for any shuffle and number of shards; an
// image that is there twice counts twice.
class ImagesFingerprint {
 public:
  void add(std::span<const uint8_t> pixels, int64_t label);
  void add(const ImagesFingerprint& others);
  std::string hex() const;  // 32 lower-case digits, the highest first
  // The sum that hex() printed; Error unless `hex` is 32 hex digits.
  static ImagesFingerprint from_hex(const std::string& hex);
  bool operator==(const ImagesFingerprint&) const = default;

 private:
  unsigned __int128 sum_ = 0;
};

}  // namespace cfm::data
