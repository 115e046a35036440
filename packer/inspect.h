#pragma once
#include <filesystem>
#include <string>

#include "data/hdf5_process.h"

namespace cfm::packer {

// What a file or a folder is, in lines for people: shards, or anything that cfm_pack packs; whether it can be read
// fast, what a random image costs, what to do about it. Reads all images but encoded ones: hashes are compared, and the
// fingerprint of an HDF5 file that others wrote is remembered. Throws Error saying what it is instead.
std::string inspect(const std::filesystem::path& file, data::Hdf5Process& hdf5);

}  // namespace cfm::packer
