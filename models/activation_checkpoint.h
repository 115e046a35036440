#pragma once
// Activation checkpointing: memory for time.

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

namespace cfm::models {

// A part of a network, a pure function of its inputs and parameters: called again, it gives the same bits. It must own
// what it uses: it lives as long as the graph does.
using Segment = std::function<at::Tensor(const std::vector<at::Tensor>& inputs)>;

// segment(inputs), of which nothing but the inputs is kept for backward; backward runs it again, under the autocast
// state of this call, and gives the gradients that segment(inputs) itself would have, bit for bit. `parameters`: all
// leaves that the segment uses beside its inputs; their gradients are returned into the outer graph, so each
// accumulates once, which is what c10d::Reducer waits for. Once differentiable: a second derivative is refused.
at::Tensor activation_checkpoint(const Segment& segment, const std::vector<at::Tensor>& inputs,
                                 const std::vector<at::Tensor>& parameters);

}  // namespace cfm::models
