#include "data/fingerprint.h"

#include <bit>

#include "base/error.h"
#include "base/hash.h"

namespace cfm::data {
namespace {

static_assert(std::endian::native == std::endian::little, "labels are hashed as little-endian int64");

constexpr char kDigits[] = "0123456789abcdef";

}  // namespace

void ImagesFingerprint::add(std::span<const uint8_t> pixels, int64_t label) {
  Xxh3 hash;
  hash.update(pixels.data(), pixels.size());
  hash.update(&label, sizeof label);
  add(from_hex(hash.hex()));
}

void ImagesFingerprint::add(const ImagesFingerprint& others) { sum_ += others.sum_; }

std::string ImagesFingerprint::hex() const {
  std::string hex;
  for (int shift = 124; shift >= 0; shift -= 4) hex += kDigits[static_cast<size_t>(sum_ >> shift) & 15];
  return hex;
}

ImagesFingerprint ImagesFingerprint::from_hex(const std::string& hex) {
  check(hex.size() == 32 && hex.find_first_not_of(kDigits) == std::string::npos,
        "'" + hex + "' is not a fingerprint; expected 32 hex digits.");
  ImagesFingerprint fingerprint;
  for (const char digit : hex)
    fingerprint.sum_ = fingerprint.sum_ << 4 | static_cast<unsigned>(digit <= '9' ? digit - '0' : digit - 'a' + 10);
  return fingerprint;
}

}  // namespace cfm::data
