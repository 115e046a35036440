#pragma once
// From pixels as files hold them (HWC) to how we do (CHW); C is 1 or 3.

#include <cstdint>
#include <span>

#include "data/read_plan.h"

namespace cfm::data {

// One image; both spans are shape.bytes() long.
void to_planar(std::span<const uint8_t> interleaved, const ImageShape& shape, std::span<uint8_t> out);

// Some rows of one: `count` interleaved pixels to a plane each channel, `plane` bytes apart.
void to_planes(const uint8_t* interleaved, size_t count, size_t channels, uint8_t* planes, size_t plane);

}  // namespace cfm::data
