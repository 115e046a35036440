#pragma once
// The file formats behind image_file.h. Private to data/.

#include <string>
#include <string_view>
#include <vector>

#include "data/image_file.h"

namespace cfm::data {

bool is_png(std::string_view bytes);
bool is_jpeg(std::string_view bytes);
Image decode_png(std::string_view bytes, const std::string& name);
Image decode_jpeg(std::string_view bytes, const std::string& name);

// Refuses more than 2^28 pixels before memory is asked for them: such a header is damaged.
void check_area(const ImageShape& shape, const std::string& name);

// Between pixels as files hold them (HWC) and as we do (CHW).
Image planar(ImageShape shape, const std::vector<uint8_t>& interleaved);
std::vector<uint8_t> interleaved(const Image& image);

}  // namespace cfm::data
