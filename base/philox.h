#pragma once
// Randomness as a function: Philox4x32-10 [Salmon et al., SC'11], key = the run's seed, counter = (block, purpose, id).
// What belongs to a sample is keyed by its draw (images_seen at the start of the step + slot), what belongs to an
// evaluation by an image id; never by rank, world size, worker or micro-batch. Results are the same bits on every
// instruction set.

#include <array>
#include <cstdint>
#include <span>

namespace cfm {

// What a stream of random numbers is for. Values are part of what a seed means: never renumber, only append.
enum class Purpose : uint32_t {
  kPermutation = 1,       // id = epoch (and group)
  kDequantise = 2,        // id = draw
  kFlip = 3,              // id = draw
  kTime = 4,              // id = draw
  kNoise = 5,             // id = draw
  kLabelDrop = 6,         // id = draw
  kDropout = 7,           // id = draw; block = layer and place in the layer
  kValidation = 8,        // id = image
  kSampleNoise = 9,       // id = sample
  kSampleLabel = 10,      // id = sample
  kPackShuffle = 11,      // id = 0
  kGreyLevel = 12,        // id = image
  kWeights = 13,          // id = parameter's index
  kValidationNoise = 14,  // id = image
  kValidationTime = 15,   // id = image
  kStrata = 16,           // id = images_seen at the start of the step
  kNllDequantise = 20,    // id = image * 2^16 + draw
  kProbe = 21,            // id = image * 2^16 + probe
  kKidSubset = 22,        // id = 2 * subset, + 1 for the reference's
};

// One block: ten rounds on a 128-bit counter (lowest word first) with a 64-bit key (lowest word first).
std::array<uint32_t, 4> philox4x32_10(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

// A stream is (seed, purpose, id): counter = {block, purpose, id low, id high}.
struct Stream {
  uint64_t seed;
  Purpose purpose;
  uint64_t id;
};

// The 32-bit words of a stream, from word 4 * first_block on.
void fill_bits(std::span<uint32_t> out, Stream stream, uint32_t first_block = 0);

// Uniform on [0, 1): the upper 24 bits of each word times 2^-24. float32 exact.
void fill_uniform(std::span<float> out, Stream stream, uint32_t first_block = 0);

// Standard normal by Box-Muller: of words 2i and 2i + 1, value 2i is sqrt(-2 log u) cos(angle), value 2i + 1 its sine,
// with u = ((word >> 1) + 1/2) 2^-31 and angle = 2 pi word / 2^32. Relative error of the float32 transform below 1e-6
// (3.6e-7 measured over 2.5e8 values); no value beyond 6.66.
void fill_normal(std::span<float> out, Stream stream, uint32_t first_block = 0);

// One uniform on [0, 1) with 53 bits.
double uniform(Stream stream);

}  // namespace cfm
