#pragma once
// Images to squares, as the field's data sets were made: the pixels of Pillow's Image.resize, which filters along rows
// to 8 bits, then along columns to 8 bits, with a filter as wide as the reduction asks for.

#include <cstdint>
#include <optional>
#include <string>

#include "data/image_file.h"

namespace cfm::packer {

enum class Resize {
  kNone,  // "none": images have the size they have
  kBox,   // "box": the whole image squashed by averaging [arXiv:1707.08819 sec. 2.1, filter box]
  kAdm,   // "adm": halved by averaging while twice the size fits, then bicubic to the shorter side, then the centre
          // square [arXiv:2105.05233, guided-diffusion's center_crop_arr]
};

// The word of the flag; nullopt for any other.
std::optional<Resize> resize_from(const std::string& word);
std::string resize_word(Resize resize);

// `image` as `size` x `size` pixels (unchanged by kNone); size > 0.
data::Image resized(const data::Image& image, Resize resize, int64_t size);

}  // namespace cfm::packer
