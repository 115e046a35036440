#pragma once
// Files that a program must refuse: weights of another network than they say, truncated ones, a shard without images.

#include <hdf5.h>

#include <filesystem>
#include <string>

#include "checkpoint/safetensors.h"
#include "checkpoint/weights.h"
#include "data/read_plan.h"
#include "models/unet.h"
#include "support/file_bytes.h"

namespace cfm::test {

// The weights of a network of `config`, in a file that says that it has twice the channels.
inline void write_weights_of_another_network(const std::filesystem::path& file, const models::UNetConfig& config) {
  checkpoint::WeightsInfo info;
  info.model = config;
  info.model.model_channels *= 2;
  checkpoint::write_safetensors(file, models::named_parameters(models::UNet(config, 1)), to_metadata(info));
}

// All but the last 100 bytes.
inline void write_truncated(const std::filesystem::path& file, const std::filesystem::path& whole) {
  const std::string bytes = bytes_of(whole);
  put_bytes(file, bytes.substr(0, bytes.size() - 100));
}

// `imgs` and `labels` as in any shard, for no images.
inline void write_shard_without_images(const std::filesystem::path& file, data::ImageShape shape) {
  const hid_t out = H5Fcreate(file.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  const hsize_t dims[] = {0, static_cast<hsize_t>(shape.channels), static_cast<hsize_t>(shape.height),
                          static_cast<hsize_t>(shape.width)};
  const auto add = [&](const char* name, hid_t type, int dimensions) {
    const hid_t space = H5Screate_simple(dimensions, dims, nullptr);
    H5Dclose(H5Dcreate2(out, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    H5Sclose(space);
  };
  add("imgs", H5T_STD_U8LE, 4);
  add("labels", H5T_STD_I64LE, 1);
  H5Fclose(out);
}

}  // namespace cfm::test
