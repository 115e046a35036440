#pragma once
// Images by number, wherever they come from: shards, arrays, pictures, or a network that draws them.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "data/hdf5_process.h"
#include "data/read_plan.h"
#include "parallel/mpi_session.h"

namespace cfm::evaluator {

struct ImageBlock {
  at::Tensor images;        // uint8 [n,C,H,W] on the CPU
  int64_t evaluations = 0;  // of a network, that they took in all
};

struct ImageSource {
  std::string what;  // for people
  // What tells these images from others, by name: a data set's two fingerprints, a file's hash.
  std::map<std::string, std::string> identity;
  std::string split;  // of a data set, as cfm_pack named it; else empty
  int64_t count = 0;
  data::ImageShape shape;
  // Images first .. first + n - 1.
  std::function<ImageBlock(int64_t first, int64_t n)> read;
};

// `place` is HDF5 (a folder of .h5 files or one: docs/formats.md), an .npz whose arr_0 holds the images (uint8 NHWC, as
// ADM's evaluator reads it, or NCHW), or a folder of PNG and JPEG files of one shape, in the order of their names.
// Error names `flag` and the place: nothing there, no images, other types or shapes. `session` and `hdf5` must outlive
// the source. Collective.
ImageSource open_image_source(const std::string& flag, const std::string& place, const parallel::MpiSession& session,
                              data::Hdf5Process& hdf5);

}  // namespace cfm::evaluator
