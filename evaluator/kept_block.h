#pragma once
// Blocks of drawn samples that are kept until the result is there.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace cfm::evaluator {

struct KeptBlocks {
  std::filesystem::path folder;
  std::string name;  // of the piece that they belong to
  // FOLDER/<name>-<first sample>-<how many>.safetensors
  std::filesystem::path file(int64_t first, int64_t count) const;
};

struct KeptBlock {
  at::Tensor values;        // on the CPU
  int64_t evaluations = 0;  // of a network, that they took in all
};

// What the file holds if it is there and whole: `tensor`, of this shape and type. A damaged one is no file: its block
// is drawn again, and a warning says so.
std::optional<KeptBlock> read_block(const std::filesystem::path& file, const std::string& tensor, at::IntArrayRef shape,
                                    at::ScalarType type);

// By rename, with a hash.
void keep_block(const std::filesystem::path& file, const std::string& tensor, const KeptBlock& block);

}  // namespace cfm::evaluator
