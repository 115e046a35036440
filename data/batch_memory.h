#pragma once
#include <ATen/core/Tensor.h>

#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace cfm::data {

// Tensors for batches, used again once nobody holds them: fresh memory costs more page faults than the images cost to
// copy. Pinned memory comes from LibTorch's own cache, which also waits for the copies that the device still makes.
class BatchMemory {
 public:
  explicit BatchMemory(bool pinned) : pinned_(pinned) {}
  // images uint8 of `shape` = [B,C,H,W], labels int64 [B]; not filled. Thread-safe.
  std::pair<at::Tensor, at::Tensor> take(at::IntArrayRef shape);

 private:
  struct Pool {
    std::mutex mutex;
    std::vector<at::Tensor> free;
  };
  at::Tensor reused(at::IntArrayRef shape, at::ScalarType type);

  bool pinned_;
  std::shared_ptr<Pool> pool_ = std::make_shared<Pool>();  // outlived by no tensor that it gave
};

}  // namespace cfm::data
