#include "base/philox.h"

#include <algorithm>

#include "base/philox_kernels.h"

namespace cfm {
namespace {

const PhiloxKernels& fastest() {
  static const PhiloxKernels kernels = philox_kernels_here().back();
  return kernels;
}

// Whole blocks straight into `out`, the last, partial one by way of four values.
template <typename T>
void fill(std::span<T> out, Stream stream, uint32_t first_block, void (*kernel)(T*, size_t, Stream, uint32_t)) {
  const size_t blocks = out.size() / 4;
  if (blocks > 0) kernel(out.data(), blocks, stream, first_block);
  const std::span<T> rest = out.subspan(4 * blocks);
  if (rest.empty()) return;
  std::array<T, 4> last;
  kernel(last.data(), 1, stream, first_block + static_cast<uint32_t>(blocks));
  std::copy_n(last.begin(), rest.size(), rest.begin());
}

}  // namespace

std::array<uint32_t, 4> philox4x32_10(std::array<uint32_t, 4> c, std::array<uint32_t, 2> k) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53} * c[0];
    const uint64_t p1 = uint64_t{0xCD9E8D57} * c[2];
    c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ k[0], static_cast<uint32_t>(p1),
         static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ k[1], static_cast<uint32_t>(p0)};
    k = {k[0] + 0x9E3779B9, k[1] + 0xBB67AE85};
  }
  return c;
}

void fill_bits(std::span<uint32_t> out, Stream stream, uint32_t first_block) {
  fill(out, stream, first_block, fastest().bits);
}

void fill_uniform(std::span<float> out, Stream stream, uint32_t first_block) {
  fill(out, stream, first_block, fastest().uniform);
}

void fill_normal(std::span<float> out, Stream stream, uint32_t first_block) {
  fill(out, stream, first_block, fastest().normal);
}

double uniform(Stream stream) {
  std::array<uint32_t, 2> words{};
  fill_bits(words, stream);
  return static_cast<double>((uint64_t{words[0]} << 21) ^ (words[1] >> 11)) * 0x1p-53;
}

}  // namespace cfm
