#pragma once
// minibatch_ot in training: which draw's noise each slot of a step takes. It follows from the step and the slot alone,
// so a rank that needs part of a block of slots looks at all of the block's images.

#include <cstdint>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "data/dataset.h"
#include "data/loader.h"
#include "data/sample_order.h"
#include "flow/coupling.h"
#include "flow/draws.h"

namespace cfm::trainer {

class CoupledNoise {
 public:
  // `dataset` must outlive it.
  CoupledNoise(const flow::DrawConfig& draws, const flow::Coupling& coupling, const data::Dataset& dataset,
               const data::LoaderConfig& loader);
  // One draw a slot; empty with independent coupling: each its own. Thread-safe. Throws Error of a read.
  std::vector<uint64_t> draws_of(const flow::StepSlots& slots);

 private:
  using Block = std::pair<uint64_t, int64_t>;  // images_seen, first slot
  std::vector<uint64_t> draws_of_block(const flow::StepSlots& block);
  std::vector<uint64_t> assigned(const flow::StepSlots& block);

  const flow::DrawConfig draws_;
  const flow::Coupling coupling_;
  const data::Dataset& dataset_;
  data::SampleOrder order_;
  std::mutex mutex_;
  std::map<Block, std::vector<uint64_t>> recent_;  // micro-batches share blocks
};

// Why blocks cannot be formed of a node's own images: with data groups, a block of slots must lie within a group's.
Problems block_problems(const flow::Coupling& coupling, int64_t global_batch, int64_t data_groups);

}  // namespace cfm::trainer
