#include "packer/image_source.h"

#include "base/error.h"

namespace cfm::packer {

ImageSource open_source(const std::string& source) {
  if (std::filesystem::is_directory(source)) return open_folder(source);
  const size_t comma = source.find(".npy,");
  const std::filesystem::path file = comma == std::string::npos ? source : source.substr(0, comma + 4);
  check(std::filesystem::exists(file), "--source=" + source + ": no such file or folder: " + file.string());
  if (file.extension() == ".npz") return open_arrays(file);
  if (file.extension() == ".npy") return open_arrays(file, comma == std::string::npos ? "" : source.substr(comma + 5));
  throw Error("--source=" + source + " is neither a folder of PNG or JPEG images nor a .npz or .npy file.");
}

}  // namespace cfm::packer
