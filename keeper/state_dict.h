#pragma once
// Other programs' U-Nets: state dicts of guided-diffusion, flow_matching (examples/image) and torchcfm, which name
// their tensors alike, as safetensors. scripts/convert_state_dict.py makes such files of their .pt and .pth.

#include <filesystem>
#include <string>
#include <vector>

#include "checkpoint/safetensors.h"

namespace cfm::keeper {

struct StateDict {
  std::filesystem::path file;
  std::string part;                  // "ema_model" of ema_model.module.time_embed...; empty: there is one, without
  std::vector<std::string> parts;    // all that the file holds
  checkpoint::NamedTensors tensors;  // of the part, by guided-diffusion's names; others' tensors are left out
};

// The U-Net in `file`: names may stand behind a prefix ("module.", "model.", "ema_model.module."). `part` chooses where
// there are several: the prefix without "module." and without the last dot; "." is the one for which that leaves
// nothing. Tensors that are of no U-Net keep their names. Error(kWontWork) if there is no U-Net, no such part, several
// parts and none is chosen, two parts of one name, or a tensor that is there twice, behind the prefix and without it.
StateDict read_state_dict(const std::filesystem::path& file, const std::string& part);

}  // namespace cfm::keeper
