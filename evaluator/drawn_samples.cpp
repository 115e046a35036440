#include "evaluator/drawn_samples.h"

#include <ATen/ops/empty.h>
#include <unistd.h>

#include <limits>
#include <optional>
#include <system_error>

#include "base/durable_file.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/log.h"
#include "checkpoint/safetensors.h"

namespace cfm::evaluator {
namespace {

namespace fs = std::filesystem;

std::string hash_of(const at::Tensor& images) {
  return xxh3_128_hex(images.const_data_ptr<uint8_t>(), images.nbytes());
}

// What the file says if it is whole; a damaged one is no file: its block is drawn again.
std::optional<ImageBlock> kept_block(const fs::path& file, at::IntArrayRef shape) {
  std::error_code error;
  if (!fs::exists(file, error)) return std::nullopt;
  try {
    const checkpoint::SafetensorsFile kept = checkpoint::read_safetensors(file);
    check(kept.tensors.size() == 1 && kept.tensors[0].second.sizes() == shape &&
              kept.tensors[0].second.scalar_type() == at::kByte &&
              kept.metadata.at("xxh3_128") == hash_of(kept.tensors[0].second),
          file.string() + ": the samples are not those that were written");
    return ImageBlock{kept.tensors[0].second, std::stoll(kept.metadata.at("evaluations"))};
  } catch (const std::exception& problem) {
    warn(std::string(problem.what()) + ": these samples are drawn again");
    return std::nullopt;
  }
}

void keep_block(const fs::path& file, const ImageBlock& block) {
  const fs::path unfinished = file.string() + "." + std::to_string(::getpid()) + ".tmp";
  checkpoint::write_safetensors(
      unfinished, {{"images", block.images}},
      {{"xxh3_128", hash_of(block.images)}, {"evaluations", std::to_string(block.evaluations)}});
  rename_durably(unfinished, file);
}

}  // namespace

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
    const fs::path file =
        kept.folder / (kept.name + "-" + std::to_string(first) + "-" + std::to_string(n) + ".safetensors");
    if (std::optional<ImageBlock> block = kept_block(file, block_shape)) return *block;
    ImageBlock block{at::empty(block_shape, at::kByte), 0};
    flow::draw_samples(velocity, config, first, n, {shape.channels, shape.height, shape.width}, device,
                       [&](const flow::SampledImage& image) {
                         block.images[image.sample - first].copy_(image.bytes);
                         block.evaluations += image.nfe;
                       });
    keep_block(file, block);
    return block;
  };
  return source;
}

}  // namespace cfm::evaluator
