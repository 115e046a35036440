#pragma once
// Which class each sample is of.

#include <cstdint>
#include <string>
#include <vector>

#include "models/unet.h"

namespace cfm::evaluator {

// --labels: "all" (the classes in turn), "none" (no label: the null class where the network has one), one class, or a
// list "0,3,7" taken in turn; empty: all for a network with classes, none otherwise. Sample i is of label [i mod size];
// empty for a network without classes. Error names the flag and what the network has.
std::vector<int64_t> label_cycle(const std::string& labels, const models::UNetConfig& model);

// Labels of samples first .. first + count - 1.
std::vector<int64_t> labels_of(const std::vector<int64_t>& cycle, int64_t first, int64_t count);

}  // namespace cfm::evaluator
