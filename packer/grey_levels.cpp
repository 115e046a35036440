#include "packer/grey_levels.h"

#include <vector>

#include "base/error.h"
#include "base/philox.h"

namespace cfm::packer {

void spread_grey_levels(data::Image& image, int64_t levels, uint64_t seed, int64_t image_id) {
  std::vector<uint32_t> bits(image.pixels.size());
  fill_bits(bits, Stream{seed, Purpose::kGreyLevel, static_cast<uint64_t>(image_id)});
  for (size_t i = 0; i < bits.size(); ++i) {
    const int64_t level = image.pixels[i];
    if (level >= levels)
      throw Error("pixel " + std::to_string(i) + " is " + std::to_string(level) + "; expected grey levels 0 to " +
                  std::to_string(levels - 1) + ", as --grey_levels says.");
    const int64_t low = 256 * level / levels, high = 256 * (level + 1) / levels;
    image.pixels[i] =
        static_cast<uint8_t>(low + static_cast<int64_t>(bits[i] * static_cast<uint64_t>(high - low) >> 32));
  }
}

}  // namespace cfm::packer
