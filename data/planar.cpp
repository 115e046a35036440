#include "data/planar.h"

#include <algorithm>
#include <cstddef>

namespace cfm::data {
namespace {

[[gnu::always_inline]] inline void split_loop(const uint8_t* __restrict in, size_t count, uint8_t* __restrict red,
                                              uint8_t* __restrict green, uint8_t* __restrict blue) {
  for (size_t i = 0; i < count; ++i) {
    red[i] = in[3 * i];
    green[i] = in[3 * i + 1];
    blue[i] = in[3 * i + 2];
  }
}

void split(const uint8_t* in, size_t count, uint8_t* out, size_t plane) {
  split_loop(in, count, out, out + plane, out + 2 * plane);
}

#if defined(__x86_64__)
// GCC needs the byte shuffle to vectorise the loop: eight times faster than without, and than wider registers.
[[gnu::target("ssse3")]] void split_ssse3(const uint8_t* in, size_t count, uint8_t* out, size_t plane) {
  split_loop(in, count, out, out + plane, out + 2 * plane);
}
#endif

}  // namespace

void to_planes(const uint8_t* interleaved, size_t count, size_t channels, uint8_t* planes, size_t plane) {
  if (channels == 1) {
    std::copy_n(interleaved, count, planes);
    return;
  }
#if defined(__x86_64__)
  if (__builtin_cpu_supports("ssse3")) {
    split_ssse3(interleaved, count, planes, plane);
    return;
  }
#endif
  split(interleaved, count, planes, plane);
}

void to_planar(std::span<const uint8_t> interleaved, const ImageShape& shape, std::span<uint8_t> out) {
  const auto channels = static_cast<size_t>(shape.channels), area = out.size() / channels;
  to_planes(interleaved.data(), area, channels, out.data(), area);
}

}  // namespace cfm::data
