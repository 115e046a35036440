#pragma once
#include <cstdint>
#include <memory>
#include <span>

#include "base/ranks.h"

namespace cfm::data {

// Memory that the ranks of a node share, for images that are read from RAM. All of it is there from the start: a node
// without room says so then, and not by a SIGBUS in the middle of training.
class ImageMemory {
 public:
  // Collective over ranks.together. On a node of one rank it is that rank's own memory, in huge pages where they are to
  // be had; otherwise POSIX shared memory. Throws Error naming what was asked for, what there is, and what to do.
  ImageMemory(uint64_t bytes, const Ranks& ranks);
  ~ImageMemory();
  ImageMemory(const ImageMemory&) = delete;
  ImageMemory& operator=(const ImageMemory&) = delete;

  std::span<uint8_t> bytes() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Bytes of memory that this process could still take: what the machine has left, or its control group. 0 if neither
// says.
uint64_t available_memory();

// Bytes that are left in the file system of POSIX shared memory.
uint64_t available_shared_memory();

}  // namespace cfm::data
