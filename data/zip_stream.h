#pragma once
// Members of zip archives from their first byte on, by libzip, which inflates them and compares their checksums.

#include <zip.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>

namespace cfm::data {

using ZipArchive = std::unique_ptr<zip_t, void (*)(zip_t*)>;

// Error naming the archive if libzip cannot open it.
ZipArchive open_zip(const std::filesystem::path& archive, int flags);

// Hands the bytes of a member of `bytes` bytes to `visit`, piece by piece, until it returns false. At the end Error
// naming the member unless there were as many, and the checksum is theirs.
void stream_zip_member(const std::filesystem::path& archive, const std::string& member, uint64_t bytes,
                       const std::function<bool(std::span<const uint8_t>)>& visit);

}  // namespace cfm::data
