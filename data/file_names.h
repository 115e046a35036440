#pragma once
// What names of files say, before they are opened.

#include <filesystem>

namespace cfm::data {

// .png, .jpg or .jpeg, whatever the case.
bool is_image_name(const std::filesystem::path& file);

// .h5 or .hdf5.
bool is_hdf5_name(const std::filesystem::path& file);

enum class SplitKind { kNone, kTrain, kVal, kTest };

// Which split a file of an official set belongs to: train_data_batch_1, Imagenet64_train_part1.npz and data_batch_1.bin
// to kTrain, val_data and ILSVRC2012_img_val.tar to kVal, test_batch to kTest.
SplitKind split_of(const std::filesystem::path& file);

}  // namespace cfm::data
