#include "base/hash.h"

#include <xxhash.h>

#include <array>
#include <new>

namespace cfm {
namespace {

std::string hex_of(XXH128_hash_t hash) {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, hash);
  static constexpr std::array<char, 17> kDigits{"0123456789abcdef"};
  std::string hex;
  for (const unsigned char byte : canonical.digest) {
    hex += kDigits[byte >> 4];
    hex += kDigits[byte & 15];
  }
  return hex;
}

}  // namespace

std::string xxh3_128_hex(const void* bytes, size_t size) { return hex_of(XXH3_128bits(bytes, size)); }

struct Xxh3::State {
  XXH3_state_t* xxh = XXH3_createState();
  ~State() { XXH3_freeState(xxh); }
};

Xxh3::Xxh3() : state_(std::make_unique<State>()) {
  if (state_->xxh == nullptr) throw std::bad_alloc();
  XXH3_128bits_reset(state_->xxh);
}
Xxh3::~Xxh3() = default;
void Xxh3::update(const void* bytes, size_t size) { XXH3_128bits_update(state_->xxh, bytes, size); }
std::string Xxh3::hex() const { return hex_of(XXH3_128bits_digest(state_->xxh)); }

}  // namespace cfm
