#pragma once
#include <cstdint>

#include "data/image_file.h"

namespace cfm::packer {

// Pixels that are grey levels 0..levels-1 spread over 0..255: level k becomes a byte drawn uniformly from
// [floor(256 k / levels), floor(256 (k + 1) / levels)), keyed by (seed, kGreyLevel, image_id, place in the image).
// Throws Error if a pixel is `levels` or more.
void spread_grey_levels(data::Image& image, int64_t levels, uint64_t seed, int64_t image_id);

}  // namespace cfm::packer
