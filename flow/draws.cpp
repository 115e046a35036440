#include "flow/draws.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/flip.h>
#include <ATen/ops/where.h>

#include <cassert>
#include <numeric>
#include <vector>

#include "base/number_text.h"
#include "base/shape.h"
#include "flow/pixels.h"

namespace cfm::flow {
namespace {

using Fill = void (*)(std::span<float> out, Stream stream, uint32_t first_block);

// float32 [n,C,H,W]: row i is the stream (seed, purpose, ids[i]).
at::Tensor keyed(Fill fill, uint64_t seed, Purpose purpose, std::span<const uint64_t> ids,
                 at::IntArrayRef image_shape) {
  std::vector<int64_t> shape = image_shape.vec();
  shape.insert(shape.begin(), static_cast<int64_t>(ids.size()));
  at::Tensor rows = at::empty(shape, at::kFloat);
  const auto row_size = ids.empty() ? 0 : static_cast<size_t>(rows.numel()) / ids.size();
  const std::span<float> values(rows.mutable_data_ptr<float>(), static_cast<size_t>(rows.numel()));
  for (size_t i = 0; i < ids.size(); ++i) {
    fill(values.subspan(i * row_size, row_size), {seed, purpose, ids[i]}, 0);
  }
  return rows;
}

std::vector<uint64_t> consecutive(uint64_t first, int64_t n) {
  std::vector<uint64_t> ids(static_cast<size_t>(n));
  std::iota(ids.begin(), ids.end(), first);
  return ids;
}

}  // namespace

Problems DrawConfig::validate() const {
  Problems problems;
  if (!(label_drop >= 0 && label_drop <= 1)) {
    problems.push_back("--label_drop=" + number_text(label_drop) + ": expected a probability, 0 to 1.");
  }
  if (label_drop > 0 && null_class < 0) {
    problems.push_back("--label_drop=" + number_text(label_drop) +
                       ": the model has no null class to drop labels to. Give it one, or set --label_drop=0.");
  }
  return problems;
}

Draws make_draws(const DrawConfig& config, const StepSlots& slots, at::IntArrayRef image_shape,
                 std::span<const uint64_t> noise_draws) {
  const std::vector<uint64_t> own = consecutive(slots.first_draw(), slots.count);
  assert(noise_draws.empty() || noise_draws.size() == own.size());
  const int64_t batch = slots.count;
  Draws draws{keyed(fill_uniform, config.seed, Purpose::kDequantise, own, image_shape),
              keyed(fill_normal, config.seed, Purpose::kNoise, noise_draws.empty() ? own : noise_draws, image_shape),
              draw_times(config.times, config.path, config.seed, slots), at::empty({batch}, at::kBool),
              at::empty({batch}, at::kBool)};
  bool* flip = draws.flip.mutable_data_ptr<bool>();
  bool* drop = draws.drop.mutable_data_ptr<bool>();
  for (int64_t i = 0; i < batch; ++i) {
    const uint64_t draw = own[static_cast<size_t>(i)];
    flip[i] = config.horizontal_flip && uniform({config.seed, Purpose::kFlip, draw}) < 0.5;
    drop[i] = config.label_drop > 0 && uniform({config.seed, Purpose::kLabelDrop, draw}) < config.label_drop;
  }
  return draws;
}

at::Tensor to_x1(const at::Tensor& bytes, const Draws& draws) {
  check_shape(bytes, {draws.u.size(0), -1, -1, -1}, "the images");
  const at::Tensor flip_B111 = over_images(draws.flip.to(bytes.device()), bytes);
  return to_model_space(at::where(flip_B111, at::flip(bytes, {3}), bytes), draws.u.to(bytes.device()));
}

at::Tensor keyed_normal(uint64_t seed, Purpose purpose, uint64_t first_id, int64_t n, at::IntArrayRef image_shape) {
  return keyed(fill_normal, seed, purpose, consecutive(first_id, n), image_shape);
}

at::Tensor keyed_uniform(uint64_t seed, Purpose purpose, uint64_t first_id, int64_t n, at::IntArrayRef image_shape) {
  return keyed(fill_uniform, seed, purpose, consecutive(first_id, n), image_shape);
}

}  // namespace cfm::flow
