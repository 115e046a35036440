#include "data/batch_memory.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <algorithm>

namespace cfm::data {

// A view of memory that goes back to the pool, under its lock, when the last of its holders lets go.
at::Tensor BatchMemory::reused(at::IntArrayRef shape, at::ScalarType type) {
  at::Tensor memory;
  {
    const std::lock_guard lock(pool_->mutex);
    const auto found = std::ranges::find_if(
        pool_->free, [&](const at::Tensor& tensor) { return tensor.sizes() == shape && tensor.scalar_type() == type; });
    if (found != pool_->free.end()) {
      memory = *found;
      pool_->free.erase(found);
    }
  }
  if (!memory.defined()) memory = at::empty(shape, type);
  const auto give_back = [pool = pool_, memory](void*) {
    const std::lock_guard lock(pool->mutex);
    pool->free.push_back(memory);
  };
  return at::from_blob(memory.mutable_data_ptr(), shape, give_back, type);
}

std::pair<at::Tensor, at::Tensor> BatchMemory::take(at::IntArrayRef shape) {
  const int64_t images = shape[0];
  if (!pinned_) return {reused(shape, at::kByte), reused({images}, at::kLong)};
  const auto options = at::TensorOptions().pinned_memory(true);
  return {at::empty(shape, options.dtype(at::kByte)), at::empty({images}, options.dtype(at::kLong))};
}

}  // namespace cfm::data
