#pragma once
// A temporary file without a name, gone when nobody reads it any more, whatever ends the process.

#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "data/byte_source.h"

namespace cfm::data {

class SpoolFile {
 public:
  // In `folder`, which is made if need be; up to 16 MiB stay in memory. Failures to
  // make or write it are Error(kRetry): a full disk may have room later.
  explicit SpoolFile(std::filesystem::path folder) : folder_(std::move(folder)) {}
  void append(std::span<const uint8_t> bytes);
  // What was appended.
  ByteSource bytes(std::string name) const;
  bool on_disk() const { return descriptor_ != nullptr; }

 private:
  void open();
  void write(std::span<const uint8_t> bytes);
  std::filesystem::path folder_;
  std::string start_;  // what there is, as long as it is little
  std::shared_ptr<const Descriptor> descriptor_;
  uint64_t size_ = 0;
};

}  // namespace cfm::data
