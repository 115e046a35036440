#include "packer/image_fit.h"

#include <utility>

#include "base/error.h"
#include "packer/grey_levels.h"

namespace cfm::packer {
namespace {

using data::Image;
using data::ImageShape;

std::string size_text(const ImageShape& shape) {
  return std::to_string(shape.width) + "x" + std::to_string(shape.height) + " pixels, " +
         std::to_string(shape.channels) + (shape.channels == 1 ? " channel" : " channels");
}

}  // namespace

ImageFit::ImageFit(const PackConfig& config, const ImageSource& source) : config_(config), source_(source) {
  const int64_t images = config.images_of(source.size());
  std::string first_reason;
  for (int64_t id = config.first; id < config.first + images; ++id) try {
      shape_ = source.read(id).shape;
      first_readable_ = id;
      if (config.channels > 0) shape_.channels = config.channels;
      if (config.size > 0) shape_.height = shape_.width = config.size;  // resized to it, or refused
      return;
    } catch (const Error& error) {  // named when its shard is packed, unless there is no shard to pack
      if (error.exit_code() != ExitCode::kWontWork) throw;
      if (id == config.first) first_reason = error.what();
    }
  throw Error("none of the " + std::to_string(images) + " images of " + source.description +
              " can be read. The first: " + first_reason);
}

Image ImageFit::fitted(Image image, int64_t id) const {
  if (config_.resize != Resize::kNone) image = resized(image, config_.resize, config_.size);
  if (image.shape.channels == 3 && shape_.channels == 1)
    throw Error(source_.image_name(id) + " has 3 channels, " + source_.image_name(first_readable_) +
                " or --channels asks for 1. Pack with --channels=3.");
  image = data::with_channels(std::move(image), shape_.channels);
  if (image.shape != shape_)
    throw Error(source_.image_name(id) + " has " + size_text(image.shape) + "; expected " + size_text(shape_) +
                (config_.size > 0 ? ", as --size asks" : ", as " + source_.image_name(first_readable_)) +
                ". Give --resize=box or adm with --size, or resize the images first.");
  if (config_.grey_levels > 0) try {
      spread_grey_levels(image, config_.grey_levels, config_.seed, id);
    } catch (const Error& error) {
      throw Error(source_.image_name(id) + ": " + error.what());
    }
  return image;
}

}  // namespace cfm::packer
