#pragma once
// A state in host memory, as the files that it will be: what a save needs once training goes on.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/safetensors.h"

namespace cfm::checkpoint {

// One file of a checkpoint: "model", "ema_0.9999", "exp_avg", ... (without .safetensors).
struct Part {
  std::string name;
  NamedTensors tensors;
  Metadata metadata;
  std::string file_name() const { return name + ".safetensors"; }
  int64_t tensor_bytes() const;
};

class Snapshot {
 public:
  // Copies the files that writers[i] == rank says are this rank's, and hashes the others where they lie: when it
  // returns, nothing of `parts` is needed any more. Host memory is kept for the next time, so touched but the first.
  // `moved` is called now and then.
  void take(const std::vector<Part>& parts, const std::vector<int>& writers, int rank,
            const std::function<void()>& moved);
  // Then hashes the copies.
  void hash(const std::function<void()>& moved);
  // Of each part, after both: as write_safetensors would return it.
  const std::vector<FileRecord>& records() const { return records_; }
  // The bytes of a file that is this rank's.
  std::span<const char> bytes(const FileRecord& record) const;

 private:
  char* room_for(const std::string& file, int64_t bytes);
  std::vector<FileRecord> records_;
  std::map<std::string, at::Tensor> memory_;  // uint8, by file
};

}  // namespace cfm::checkpoint
