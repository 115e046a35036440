#pragma once
// Where samples go: a PNG grid to look at, or an .npz that ADM's evaluator reads.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace cfm::evaluator {

struct GridLayout {
  int64_t columns = 0;  // 0: as square as can be
  int64_t zoom = 1;
  std::string beside = "";  // shards whose first images make a second grid to the right; empty: none
};

// Error unless `file` ends in .png or .npz and can be written: tried, so that nobody computes for hours in vain.
void check_writable(const std::filesystem::path& file);

// Error unless layout.beside, if any, can be read and has `count` images; said before anything is computed.
void check_beside(const GridLayout& layout, int64_t count);

// images: uint8 [N,C,H,W] on the CPU; labels: N of them, or none.
// .npz: arr_0 uint8 [N,H,W,C], arr_1 int64 [N] if there are labels.
void write_samples(const std::filesystem::path& file, const at::Tensor& images, const std::vector<int64_t>& labels,
                   const GridLayout& layout);

}  // namespace cfm::evaluator
