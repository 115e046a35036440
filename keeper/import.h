#pragma once
// Other programs' weights as a weights file of ours, which says what they mean.

#include <filesystem>
#include <string>
#include <vector>

#include "checkpoint/weights.h"

namespace cfm::keeper {

struct ImportJob {
  std::filesystem::path from, out;
  std::string part;              // keeper/state_dict.h
  checkpoint::WeightsInfo info;  // the channels of images are the file's
  bool learn_sigma = false;      // the second half of the outputs is a variance, and left out
  bool time_reversed = false;    // the network was fed time_scale (1 - t) + time_shift; else time_scale t + time_shift
  double time_shift = 0;
  std::string trained_pixel_map;     // that the weights were trained with, for the record
  std::vector<std::string> assumed;  // "--time_scale=1000": what nobody gave and tensors do not tell, as it is taken
  Problems validate() const;
};

// Reads, checks every name, shape and number, and writes `out`: float32, in the order of models::named_parameters. The
// network of `out` gives at t what the other one gives for what it was fed there. Says what was assumed.
// Error(kWontWork) lists each tensor that is missing, not expected or of another shape, with the flags that the tensors
// speak of.
void import_weights(const ImportJob& job);

}  // namespace cfm::keeper
