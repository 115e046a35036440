#include "evaluator/kept_block.h"

#include <unistd.h>

#include <system_error>

#include "base/durable_file.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/log.h"
#include "checkpoint/safetensors.h"

namespace cfm::evaluator {
namespace {

namespace fs = std::filesystem;

std::string hash_of(const at::Tensor& values) { return xxh3_128_hex(values.const_data_ptr(), values.nbytes()); }

}  // namespace

fs::path KeptBlocks::file(int64_t first, int64_t count) const {
  return folder / (name + "-" + std::to_string(first) + "-" + std::to_string(count) + ".safetensors");
}

std::optional<KeptBlock> read_block(const fs::path& file, const std::string& tensor, at::IntArrayRef shape,
                                    at::ScalarType type) {
  std::error_code error;
  if (!fs::exists(file, error)) return std::nullopt;
  try {
    const checkpoint::SafetensorsFile kept = checkpoint::read_safetensors(file);
    check(kept.tensors.size() == 1 && kept.tensors[0].first == tensor && kept.tensors[0].second.sizes() == shape &&
              kept.tensors[0].second.scalar_type() == type &&
              kept.metadata.at("xxh3_128") == hash_of(kept.tensors[0].second),
          file.string() + ": the samples are not those that were written");
    return KeptBlock{kept.tensors[0].second, std::stoll(kept.metadata.at("evaluations"))};
  } catch (const std::exception& problem) {
    warn(std::string(problem.what()) + ": these samples are drawn again");
    return std::nullopt;
  }
}

void keep_block(const fs::path& file, const std::string& tensor, const KeptBlock& block) {
  const fs::path unfinished = file.string() + "." + std::to_string(::getpid()) + ".tmp";
  checkpoint::write_safetensors(
      unfinished, {{tensor, block.values}},
      {{"xxh3_128", hash_of(block.values)}, {"evaluations", std::to_string(block.evaluations)}});
  rename_durably(unfinished, file);
}

}  // namespace cfm::evaluator
