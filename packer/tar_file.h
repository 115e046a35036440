#pragma once
// What is in a tar archive and where, by its headers alone: ustar, GNU long names and sizes in base 256, pax records.

#include <cstdint>
#include <functional>
#include <string>

#include "data/byte_source.h"

namespace cfm::packer {

struct TarMember {
  std::string path;     // as the archive names it, without a leading "./"
  bool regular = true;  // a file with bytes of its own: no folder, link, device or sparse file
  bool folder = false;
  std::string link = {};          // of a hard or symbolic link: the path that it leads to; no bytes of its own
  uint64_t offset = 0, size = 0;  // of its bytes in the archive
};

// Visits the members in the archive's order, those behind an end mark too (archives that were appended to each other).
// Error naming the archive and the byte: it is compressed, no tar, truncated, or damaged (checksum, sizes, records).
void for_each_tar_member(const data::ByteSource& archive, const std::function<void(TarMember)>& visit);

}  // namespace cfm::packer
