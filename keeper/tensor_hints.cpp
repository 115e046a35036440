#include "keeper/tensor_hints.h"

#include <algorithm>

namespace cfm::keeper {
namespace {

using Tensors = std::map<std::string, at::Tensor>;

// A size of a tensor; 0 if it is not there or has fewer dimensions.
int64_t size_of(const Tensors& tensors, const std::string& name, int64_t dimension) {
  const auto found = tensors.find(name);
  return found == tensors.end() || found->second.dim() <= dimension ? 0 : found->second.size(dimension);
}

bool any_ends_with(const Tensors& tensors, const std::string& ending) {
  return std::ranges::any_of(tensors, [&](const auto& entry) { return entry.first.ends_with(ending); });
}

std::string flag(const std::string& name, bool value) { return "--" + name + (value ? "=true" : "=false"); }

}  // namespace

std::vector<std::string> tensor_hints(const Tensors& tensors, const models::UNetConfig& model) {
  std::vector<std::string> hints;
  const auto hint = [&](bool differs, const std::string& what, const std::string& spoken) {
    if (differs) hints.push_back("hint: its " + what + " speaks of " + spoken);
  };
  const int64_t channels = size_of(tensors, "time_embed.0.weight", 1);
  hint(channels > 0 && channels != model.model_channels, "time_embed", "--model_channels=" + std::to_string(channels));

  const int64_t rows = size_of(tensors, "label_emb.weight", 0);
  const int64_t expected = model.num_classes > 0 ? model.num_classes + (model.null_class ? 1 : 0) : 0;
  hint(rows != expected, "label_emb",
       rows == 0 ? "no classes (--num_classes=0)"
                 : std::to_string(rows) + " rows: --num_classes=" + std::to_string(rows) +
                       " --null_class=false, or --num_classes=" + std::to_string(rows - 1) +
                       " if the last one stands for no label");

  const int64_t embedding = size_of(tensors, "input_blocks.1.0.emb_layers.1.weight", 0);
  const int64_t block = size_of(tensors, "input_blocks.1.0.out_layers.3.weight", 0);
  const bool scale_shift = embedding == 2 * block;
  hint(block > 0 && scale_shift != model.use_scale_shift_norm, "emb_layers", flag("use_scale_shift_norm", scale_shift));

  const bool plain = any_ends_with(tensors, ".op.weight") || any_ends_with(tensors, ".conv.weight");
  hint(plain && (model.resblock_updown || !model.conv_resample), "layers between resolutions",
       flag("resblock_updown", false) + " " + flag("conv_resample", true));

  const int64_t images = size_of(tensors, "input_blocks.0.0.weight", 1), outputs = size_of(tensors, "out.2.weight", 0);
  hint(images > 0 && outputs == 2 * images, "out.2", "a learnt variance: --learn_sigma keeps the other half");
  return hints;
}

}  // namespace cfm::keeper
