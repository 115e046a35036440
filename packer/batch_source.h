#pragma once
// Batches as the official sets come in: pickled dicts, and CIFAR-10's binary records.

#include <filesystem>
#include <vector>

#include "packer/image_source.h"

namespace cfm::packer {

// Whether the file begins as a pickle of protocol 2 or later does.
bool is_pickle(const std::filesystem::path& file);

// Pickled dicts of `data` and `labels` (`fine_labels` where CIFAR-100 has them), in the order given: the downsampled
// ImageNet's train_data_batch_1, CIFAR-10's cifar-10-batches-py. Arrays whose bytes stand in the pickle as they are
// stay there; others are decoded into a temporary file (a note says so).
ImageSource open_pickles(const std::vector<std::filesystem::path>& batches, const SourceOptions& options,
                         const std::string& description);

// CIFAR-10's binary version: records of a label (0 to 9) and 3x32x32 planar bytes.
ImageSource open_cifar10_binary(const std::vector<std::filesystem::path>& batches, const std::string& description);

}  // namespace cfm::packer
