#pragma once
#include <filesystem>
#include <string>

#include "data/hdf5_process.h"

namespace cfm::packer {

// What a file of images, a folder of them, a .npz or a .npy is, in lines for people: whether it can be read fast, what
// a random image costs, what to do about it. Reads all images: their hashes are compared, and the fingerprint of a file
// that others wrote is remembered. Throws Error saying what it is instead.
std::string inspect(const std::filesystem::path& file, data::Hdf5Process& hdf5);

}  // namespace cfm::packer
