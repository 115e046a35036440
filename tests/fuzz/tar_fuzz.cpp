// libFuzzer: any bytes are an archive or a cfm::Error, and members lie within it. A changed header has a wrong
// checksum, so each input is read a second time with all of them put right: otherwise nothing behind the checksum would
// be reached.

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "base/error.h"
#include "data/file_names.h"
#include "packer/image_names.h"
#include "packer/tar_file.h"

namespace {

constexpr size_t kBlock = 512, kChecksum = 148;

void read(std::string_view bytes) {
  const auto archive = cfm::data::memory_bytes("input", bytes);
  try {
    cfm::packer::for_each_tar_member(archive, [&](const cfm::packer::TarMember& member) {
      if (member.offset > bytes.size() || member.size > bytes.size() - member.offset) std::abort();
      cfm::data::is_image_name(member.path);
      cfm::packer::path_before(member.path, "n01440764/a.JPEG");
    });
  } catch (const cfm::Error&) {
  }
}

// Every block taken for a header.
std::string with_checksums(std::string bytes) {
  for (size_t at = 0; at + kBlock <= bytes.size(); at += kBlock) {
    char* block = bytes.data() + at;
    if (std::all_of(block, block + kBlock, [](char c) { return c == 0; })) continue;
    std::fill_n(block + kChecksum, 8, ' ');
    unsigned sum = 0;
    for (size_t i = 0; i < kBlock; ++i) sum += static_cast<unsigned char>(block[i]);
    std::snprintf(block + kChecksum, 8, "%06o", sum);
  }
  return bytes;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(bytes), size);
  read(input);
  read(with_checksums(std::string(input)));
  return 0;
}
