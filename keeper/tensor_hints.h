#pragma once
#include <ATen/core/Tensor.h>

#include <map>
#include <string>
#include <vector>

#include "models/unet.h"

namespace cfm::keeper {

// What the tensors of a U-Net, by guided-diffusion's names, say of the flags that it was made with, where that is not
// what `model` has: "its time_embed speaks of --model_channels=64". Not all can be told: image size and heads,
// attention order and time scale leave no trace in shapes.
std::vector<std::string> tensor_hints(const std::map<std::string, at::Tensor>& tensors,
                                      const models::UNetConfig& model);

}  // namespace cfm::keeper
