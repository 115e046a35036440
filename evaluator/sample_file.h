#pragma once
// Where samples go: a PNG grid to look at, or an .npz that ADM's evaluator reads.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/hdf5_process.h"
#include "data/image_file.h"
#include "flow/trajectory.h"

namespace cfm::evaluator {

struct GridLayout {
  int64_t columns = 0;  // 0: as square as can be
  int64_t zoom = 1;
  std::vector<data::Image> beside = {};  // make a second grid, to the right; empty: none
};

// Error unless `file`, the value of `flag`, ends in .png or .npz and can be written: tried, so that nobody computes for
// hours in vain.
void check_writable(const std::filesystem::path& file, const std::string& flag = "--out");

// The first `count` images of shards, to be shown beside samples of `shape`. Error if they are fewer, or of another
// shape.
std::vector<data::Image> read_beside(const std::string& shards, int64_t count, data::ImageShape shape,
                                     data::Hdf5Process& hdf5);

// images: uint8 [N,C,H,W] on the CPU; labels: N of them, or none.
// .npz: arr_0 uint8 [N,H,W,C], arr_1 int64 [N] if there are labels.
void write_samples(const std::filesystem::path& file, const at::Tensor& images, const std::vector<int64_t>& labels,
                   const GridLayout& layout);

// x float32 [N,T,C,H,W], t float64 [T].
void write_trajectories(const std::filesystem::path& file, const flow::Trajectories& trajectories);

}  // namespace cfm::evaluator
