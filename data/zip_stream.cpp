#include "data/zip_stream.h"

#include <algorithm>
#include <vector>

#include "base/error.h"

namespace cfm::data {

ZipArchive open_zip(const std::filesystem::path& archive, int flags) {
  int code = 0;
  zip_t* zip = zip_open(archive.c_str(), flags, &code);
  if (zip == nullptr) {
    zip_error_t error;
    zip_error_init_with_code(&error, code);
    const std::string reason = zip_error_strerror(&error);
    zip_error_fini(&error);
    throw Error("cannot open " + archive.string() + " as a .npz (a zip of .npy files): " + reason + ".");
  }
  return {zip, zip_discard};
}

void stream_zip_member(const std::filesystem::path& archive, const std::string& member, uint64_t bytes,
                       const std::function<bool(std::span<const uint8_t>)>& visit) {
  const ZipArchive zip = open_zip(archive, ZIP_RDONLY);
  const std::string name = "array " + member + " of " + archive.string();
  const std::unique_ptr<zip_file_t, int (*)(zip_file_t*)> file(zip_fopen(zip.get(), member.c_str(), 0), zip_fclose);
  check(file != nullptr, name + " cannot be read: " + zip_strerror(zip.get()) + ".");
  std::vector<uint8_t> piece(std::clamp<uint64_t>(bytes, 1, 1 << 20));
  uint64_t done = 0;
  while (true) {  // to the end: that is what makes libzip compare the checksum
    const zip_int64_t got = zip_fread(file.get(), piece.data(), piece.size());
    check(got >= 0, name + " is damaged: " + zip_file_strerror(file.get()) + ".");
    if (got == 0) break;
    done += static_cast<uint64_t>(got);
    check(done <= bytes, name + " is damaged: it is longer than it says.");
    if (!visit({piece.data(), static_cast<size_t>(got)})) return;
  }
  check(done == bytes,
        name + " is damaged: it ends after " + std::to_string(done) + " bytes of " + std::to_string(bytes) + ".");
}

}  // namespace cfm::data
