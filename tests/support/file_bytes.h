#pragma once
// Whole files as strings, to damage them on purpose.

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace cfm::test {

inline std::string bytes_of(const std::filesystem::path& file) {
  std::ostringstream bytes;
  bytes << std::ifstream(file, std::ios::binary).rdbuf();
  return bytes.str();
}

inline void put_bytes(const std::filesystem::path& file, const std::string& bytes) {
  std::ofstream(file, std::ios::binary) << bytes;
}

inline void flip_bit(const std::filesystem::path& file, size_t byte, int bit = 0) {
  std::string bytes = bytes_of(file);
  bytes.at(byte) = static_cast<char>(bytes[byte] ^ (1 << bit));
  put_bytes(file, bytes);
}

}  // namespace cfm::test
