#include "evaluator/drawn_samples.h"

#include <ATen/ops/empty.h>

#include <limits>
#include <optional>

namespace cfm::evaluator {

ImageSource drawn_samples(const checkpoint::Weights& weights, const NetworkFlow& network,
                          const flow::SampleConfig& config, c10::Device device, const KeptBlocks& kept) {
  const models::UNetConfig& model = weights.info.model;
  ImageSource source;
  source.what = "samples of " + weights.file.string();
  source.identity = {{"weights_xxh3_128", weights.hash}};
  source.count = std::numeric_limits<int64_t>::max();
  source.shape = {model.in_channels, model.image_size, model.image_size};
  source.read = [velocity = network.velocity, config, device, shape = source.shape, kept](int64_t first, int64_t n) {
    const std::vector<int64_t> block_shape{n, shape.channels, shape.height, shape.width};
    const std::filesystem::path file = kept.file(first, n);
    if (const std::optional<KeptBlock> block = read_block(file, "images", block_shape, at::kByte))
      return ImageBlock{block->values, block->evaluations};
    ImageBlock block{at::empty(block_shape, at::kByte), 0};
    flow::draw_samples(velocity, config, first, n, {shape.channels, shape.height, shape.width}, device,
                       [&](const flow::SampledImage& image) {
                         block.images[image.sample - first].copy_(image.bytes);
                         block.evaluations += image.nfe;
                       });
    keep_block(file, "images", {block.images, block.evaluations});
    return block;
  };
  return source;
}

}  // namespace cfm::evaluator
