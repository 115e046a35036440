#pragma once
#include <cstdint>
#include <functional>
#include <span>

#include "data/byte_source.h"

namespace cfm::packer {

// The bytes that text of latin1 characters, in UTF-8, stands for, piece by piece; Error at what is no such text.
void for_each_latin1_piece(const data::ByteSource& text, const std::function<void(std::span<const uint8_t>)>& visit);

}  // namespace cfm::packer
