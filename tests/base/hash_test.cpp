#include "base/hash.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <vector>

namespace cfm {
namespace {

// The input of xxHash's published test vectors: byte i is the top byte of 2654435761 * 11400714785074694797^i mod 2^64.
std::vector<unsigned char> sanity_buffer(size_t size) {
  std::vector<unsigned char> buffer;
  for (uint64_t power = 2654435761U; buffer.size() < size; power *= 11400714785074694797U) {
    buffer.push_back(static_cast<unsigned char>(power >> 56));
  }
  return buffer;
}

// xxHash 0.8.1's test vectors of XXH3-128 without a seed, the high half first as the canonical form has it; one length
// for each of the algorithm's ranges.
TEST(Xxh3Of128Bits, AgreesWithThePublishedVectors) {
  const std::vector<unsigned char> buffer = sanity_buffer(2367);
  const std::map<size_t, std::string> published{
      {0, "99aa06d3014798d86001c324468d497f"},    {1, "a6cd5e9392000f6ac44bdff4074eecdb"},
      {6, "082afe0b8162d12a3e7039bdda43cfc6"},    {12, "6e3efd8fc7802b18061a192713f69ad9"},
      {24, "0ce966e4678d37611e7044d28b1b901d"},   {48, "a002ac4e5478227ef942219aed80f67b"},
      {81, "4952f58181ab00425e8bafb9f95fb803"},   {222, "337e09641b948717f1aebd597cec6b3a"},
      {403, "1b6de21e332dd73dcdeb804d65c6dea4"},  {512, "18d2d110dcc9bca1617e49599013cb6b"},
      {2048, "f736557fd47073a5dd59e2c3a5f038e0"}, {2367, "e89c0f6ff369b427cb37aeb9e5d361ed"}};
  for (const auto& [size, hash] : published) {
    EXPECT_EQ(xxh3_128_hex(buffer.data(), size), hash) << size;
    Xxh3 pieces;
    pieces.update(buffer.data(), size / 3);
    pieces.update(buffer.data() + size / 3, size - size / 3);
    EXPECT_EQ(pieces.hex(), hash) << size;
  }
}

TEST(Xxh3Of128Bits, IsTheSameWhateverThePieces) {
  const std::vector<unsigned char> buffer = sanity_buffer(5000);
  const std::string whole = xxh3_128_hex(buffer.data(), buffer.size());
  for (const size_t piece : {size_t{1}, size_t{63}, size_t{256}, size_t{4999}}) {
    Xxh3 hash;
    for (size_t at = 0; at < buffer.size(); at += piece)
      hash.update(buffer.data() + at, std::min(piece, buffer.size() - at));
    EXPECT_EQ(hash.hex(), whole) << piece;
    EXPECT_EQ(hash.hex(), whole) << "reading the hash does not change it";
  }
}

}  // namespace
}  // namespace cfm
