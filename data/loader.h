#pragma once
// Threads that keep the next batches ready, with whatever else belongs to them.

#include <ATen/core/Tensor.h>

#include <any>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "base/error.h"
#include "data/dataset.h"
#include "data/sample_order.h"

namespace cfm::data {

// One micro-batch of this rank.
struct Batch {
  int64_t step = 0;
  int64_t images_seen = 0;         // at the start of the step
  int64_t first_draw = 0;          // images_seen + its first slot
  at::Tensor images;               // uint8 [B,C,H,W], pinned if asked for
  at::Tensor labels;               // int64 [B]
  std::vector<int64_t> image_ids;  // index of each image in the dataset
  std::any extra;                  // what `prepare` made of it
};

struct LoaderConfig {
  uint64_t seed = 0;
  int64_t global_batch = 1;
  int64_t micro_batch = 0;  // 0: the rank's slots in one piece
  int rank = 0, size = 1;   // ranks are numbered node by node where there are data groups
  int64_t data_groups = 1;
  int threads = 1;
  int64_t ahead = 3;  // batches kept ready
  bool pinned = false;
  Problems validate() const;
};

class Loader {
 public:
  // Batches from (step, images_seen) on, for ever; the caller stops asking. `prepare` runs in the loader's threads and
  // fills batch.extra; data/ does not know what it is. `dataset` must outlive the loader.
  Loader(const Dataset& dataset, const LoaderConfig& config, int64_t step, int64_t images_seen,
         std::function<void(Batch&)> prepare = {});
  ~Loader();  // stops the threads

  // The next micro-batch in order. Rethrows an Error of a thread (it names the file).
  Batch next();
  // Seconds next() has waited since the last call of this.
  double take_wait_seconds();
  int64_t micro_batches_per_step() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace cfm::data
