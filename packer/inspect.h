#pragma once
#include <filesystem>
#include <string>

namespace cfm::packer {

// What a shard, a folder of shards, a .npz or a .npy is, in lines for people. Reads all images and compares their
// hashes. Throws Error saying what it is instead.
std::string inspect(const std::filesystem::path& file);

}  // namespace cfm::packer
