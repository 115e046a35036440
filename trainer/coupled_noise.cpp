#include "trainer/coupled_noise.h"

#include <ATen/ops/empty.h>

#include <algorithm>

namespace cfm::trainer {
namespace {

constexpr size_t kRecentBlocks = 64;

}  // namespace

CoupledNoise::CoupledNoise(const flow::DrawConfig& draws, const flow::Coupling& coupling, const data::Dataset& dataset,
                           const data::LoaderConfig& loader)
    : draws_(draws), coupling_(coupling), dataset_(dataset), order_(loader.seed, dataset.size(), loader.data_groups) {}

std::vector<uint64_t> CoupledNoise::draws_of(const flow::StepSlots& slots) {
  std::vector<uint64_t> draws;
  if (coupling_.coupling == "independent") return draws;
  const int64_t end = slots.first + slots.count;
  for (const flow::StepSlots& block : flow::blocks_of(slots, coupling_.ot_block)) {
    const std::vector<uint64_t> of_block = draws_of_block(block);
    for (int64_t slot = std::max(block.first, slots.first); slot < std::min(block.first + block.count, end); ++slot)
      draws.push_back(of_block[static_cast<size_t>(slot - block.first)]);
  }
  return draws;
}

std::vector<uint64_t> CoupledNoise::draws_of_block(const flow::StepSlots& block) {
  const Block key{block.images_seen, block.first};
  {
    const std::lock_guard lock(mutex_);
    const auto found = recent_.find(key);
    if (found != recent_.end()) return found->second;
  }
  std::vector<uint64_t> draws = assigned(block);
  const std::lock_guard lock(mutex_);
  recent_.emplace(key, draws);
  if (recent_.size() > kRecentBlocks) recent_.erase(recent_.begin());
  return draws;
}

std::vector<uint64_t> CoupledNoise::assigned(const flow::StepSlots& block) {
  const data::ImageShape shape = dataset_.image_shape();
  const std::vector<int64_t> chw{shape.channels, shape.height, shape.width};
  const at::Tensor bytes = at::empty({block.count, chw[0], chw[1], chw[2]}, at::kByte);
  const std::vector<int64_t> images = order_.indices(static_cast<int64_t>(block.images_seen), block.global_batch,
                                                     {block.first, block.first + block.count});
  dataset_.read(images, {bytes.mutable_data_ptr<uint8_t>(), static_cast<size_t>(bytes.numel())});
  const flow::Draws own = flow::make_draws(draws_, block, chw);
  std::vector<uint64_t> draws;
  for (const int64_t row : flow::minibatch_ot(own.x0, flow::to_x1(bytes, own)))
    draws.push_back(block.first_draw() + static_cast<uint64_t>(row));
  return draws;
}

Problems block_problems(const flow::Coupling& coupling, int64_t global_batch, int64_t data_groups) {
  const int64_t of_group = global_batch / std::max<int64_t>(data_groups, 1);
  if (coupling.coupling == "independent" || data_groups <= 1 || of_group % coupling.ot_block == 0) return {};
  return {"--ot_block=" + std::to_string(coupling.ot_block) + " does not divide the " + std::to_string(of_group) +
          " slots that each of --data_groups=" + std::to_string(data_groups) +
          " has of a step: a block would need images of other nodes. Give a divisor of " + std::to_string(of_group) +
          "."};
}

}  // namespace cfm::trainer
