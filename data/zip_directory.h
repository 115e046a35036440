#pragma once
// Where the members of a zip archive lie, zip64 included: libzip reads members through one lock and one position, while
// those that are stored as they are can be read at any place by any thread.

#include <cstdint>
#include <string>
#include <vector>

#include "data/byte_source.h"

namespace cfm::data {

struct ZipMember {
  std::string name;
  bool stored = false;  // as it is: its bytes are those at `offset`
  uint64_t offset = 0, packed_bytes = 0, bytes = 0;
};

// In the order of the archive's directory. Error naming the archive: no zip, truncated, of several disks, encrypted, or
// damaged (directory and local headers must agree, members lie within the archive).
std::vector<ZipMember> zip_members(const ByteSource& archive);

}  // namespace cfm::data
