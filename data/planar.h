#pragma once
#include <cstdint>
#include <span>

#include "data/read_plan.h"

namespace cfm::data {

// Pixels of one image as files hold them (HWC) to CHW; C is 1 or 3. Both spans are shape.bytes() long.
void to_planar(std::span<const uint8_t> interleaved, const ImageShape& shape, std::span<uint8_t> out);

}  // namespace cfm::data
