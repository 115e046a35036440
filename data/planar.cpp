#include "data/planar.h"

#include <algorithm>
#include <cstddef>

namespace cfm::data {
namespace {

[[gnu::always_inline]] inline void split_loop(const uint8_t* __restrict in, size_t area, uint8_t* __restrict red,
                                              uint8_t* __restrict green, uint8_t* __restrict blue) {
  for (size_t i = 0; i < area; ++i) {
    red[i] = in[3 * i];
    green[i] = in[3 * i + 1];
    blue[i] = in[3 * i + 2];
  }
}

void split(const uint8_t* in, size_t area, uint8_t* out) { split_loop(in, area, out, out + area, out + 2 * area); }

#if defined(__x86_64__)
// GCC needs the byte shuffle to vectorise the loop: eight times faster than without, and than wider registers.
[[gnu::target("ssse3")]] void split_ssse3(const uint8_t* in, size_t area, uint8_t* out) {
  split_loop(in, area, out, out + area, out + 2 * area);
}
#endif

}  // namespace

void to_planar(std::span<const uint8_t> interleaved, const ImageShape& shape, std::span<uint8_t> out) {
  if (shape.channels == 1) {
    std::ranges::copy(interleaved, out.begin());
    return;
  }
  const size_t area = out.size() / 3;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("ssse3")) {
    split_ssse3(interleaved.data(), area, out.data());
    return;
  }
#endif
  split(interleaved.data(), area, out.data());
}

}  // namespace cfm::data
