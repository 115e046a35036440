#include "data/batch_memory.h"

#include <ATen/ops/empty.h>

namespace cfm::data {
namespace {

bool is_free(const at::Tensor& tensor) { return tensor.use_count() == 1 && tensor.storage().use_count() == 1; }

std::pair<at::Tensor, at::Tensor> fresh(at::IntArrayRef shape, bool pinned) {
  const auto options = at::TensorOptions().pinned_memory(pinned);
  return {at::empty(shape, options.dtype(at::kByte)), at::empty({shape[0]}, options.dtype(at::kLong))};
}

}  // namespace

std::pair<at::Tensor, at::Tensor> BatchMemory::take(at::IntArrayRef shape) {
  if (pinned_) return fresh(shape, true);
  const std::lock_guard lock(mutex_);
  for (const auto& [images, labels] : used_)
    if (images.sizes() == shape && is_free(images) && is_free(labels)) return {images, labels};
  used_.push_back(fresh(shape, false));
  return used_.back();
}

}  // namespace cfm::data
