#include "models/tf1_resize.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>

#include <algorithm>

#include "base/shape.h"

namespace cfm::models {
namespace {

// Where the outputs along one axis come from.
struct Axis {
  at::Tensor lower, upper;  // int64 [out]
  at::Tensor weight;        // float32 [out], of `upper`
};

Axis axis_of(int64_t in, int64_t out, c10::Device device) {
  Axis axis{at::empty({out}, at::kLong), at::empty({out}, at::kLong), at::empty({out}, at::kFloat)};
  const float scale = static_cast<float>(in) / static_cast<float>(out);
  for (int64_t i = 0; i < out; ++i) {
    const float position = static_cast<float>(i) * scale;
    const auto lower = std::min(static_cast<int64_t>(position), in - 1);
    axis.lower.mutable_data_ptr<int64_t>()[i] = lower;
    axis.upper.mutable_data_ptr<int64_t>()[i] = std::min(lower + 1, in - 1);
    axis.weight.mutable_data_ptr<float>()[i] = position - static_cast<float>(lower);
  }
  return {axis.lower.to(device), axis.upper.to(device), axis.weight.to(device)};
}

}  // namespace

at::Tensor tf1_bilinear(const at::Tensor& images, int64_t size, bool channels_last) {
  check_shape(images, {-1, -1, -1, -1}, "images");
  const Axis columns = axis_of(images.size(3), size, images.device());
  const Axis rows = axis_of(images.size(2), size, images.device());
  const at::Tensor source =
      images.to(at::kFloat).contiguous(channels_last ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous);
  const auto between = [](const at::Tensor& x, int64_t dim, const Axis& axis, const at::Tensor& weight) {
    const at::Tensor lower = at::index_select(x, dim, axis.lower);
    return at::index_select(x, dim, axis.upper).sub_(lower).mul_(weight).add_(lower);
  };
  const at::Tensor wide = between(source, 3, columns, columns.weight);  // [B,C,H,size]
  return between(wide, 2, rows, rows.weight.unsqueeze(1));              // [B,C,size,size]
}

}  // namespace cfm::models
