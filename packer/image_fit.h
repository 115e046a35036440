#pragma once
#include <cstdint>
#include <string>

#include "packer/image_source.h"
#include "packer/pack.h"

namespace cfm::packer {

// What images are made into before they are kept, so that all have one shape.
class ImageFit {
 public:
  // Takes from the first image that can be read what --size and --channels leave open. Error if `source` has not as
  // many images as `config` asks for, or none of them can be read. Keeps references to both.
  ImageFit(const PackConfig& config, const ImageSource& source);

  data::ImageShape shape() const { return shape_; }
  std::string resize() const { return resize_word(config_.resize); }
  // The image as it goes into a shard; Error naming it if it does not belong with the others. Thread-safe.
  data::Image fitted(data::Image image, int64_t id) const;

 private:
  const PackConfig& config_;
  const ImageSource& source_;
  data::ImageShape shape_;
  int64_t first_readable_ = 0;
};

}  // namespace cfm::packer
