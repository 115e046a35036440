#include "packer/image_source.h"

#include <algorithm>
#include <cstdio>

#include "base/error.h"
#include "data/file_names.h"
#include "packer/array_source.h"
#include "packer/batch_source.h"
#include "packer/hdf5_source.h"
#include "packer/image_names.h"
#include "packer/tar_source.h"

namespace cfm::packer {
namespace {

using std::filesystem::path;

// The files of a folder that are not images, by what they hold.
struct Listing {
  std::vector<path> tars, arrays, pickles, records, hdf5;
  std::vector<path> compressed;
  bool images_or_folders = false;
  int64_t others = 0;
};

// A pickled batch has no extension; whether it is one, its first bytes say.
bool looks_like_batch(const path& file) {
  return data::split_of(file) != data::SplitKind::kNone && file.extension().empty() && is_pickle(file);
}

Listing list(const path& folder) {
  Listing listing;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const path& file = entry.path();
    const std::string extension = file.extension().string();
    if (entry.is_directory() || data::is_image_name(file))
      listing.images_or_folders = true;
    else if (extension == ".tar")
      listing.tars.push_back(file);
    else if (extension == ".npz")
      listing.arrays.push_back(file);
    else if (data::is_hdf5_name(file))
      listing.hdf5.push_back(file);
    else if (extension == ".bin")
      listing.records.push_back(file);
    else if (looks_like_batch(file))
      listing.pickles.push_back(file);
    else if (is_compressed_name(file))
      listing.compressed.push_back(file);
    else
      ++listing.others;
  }
  for (auto* files : {&listing.tars, &listing.arrays, &listing.pickles, &listing.records})
    std::ranges::sort(*files, natural_before);
  return listing;
}

ImageSource open_tars(const std::vector<path>& tars, const path& folder) {
  return tars.size() == 1 ? open_tar(tars.front()) : open_class_tars(tars, folder);
}

ImageSource open_folder_of_files(const path& folder, const SourceOptions& options) {
  const Listing listing = list(folder);
  const int kinds = !listing.tars.empty() + !listing.arrays.empty() + !listing.pickles.empty() +
                    !listing.records.empty() + !listing.hdf5.empty();
  if (kinds == 0 || listing.images_or_folders) return open_folder(folder);
  const std::string where = "folder " + folder.string();
  check(kinds == 1,
        where +
            " holds more than one kind of .tar, .npz, .bin and .h5 files and pickled batches. Name one file "
            "as --source, or move some away.");
  check(listing.compressed.empty(),
        where + " holds a compressed file: " +
            (listing.compressed.empty() ? "" : listing.compressed.front().filename().string()) +
            ". Decompress it, or move it away: labels follow the order of what is there.");
  if (!listing.hdf5.empty()) return open_hdf5(folder, options);
  const std::vector<path>& all = !listing.tars.empty()      ? listing.tars
                                 : !listing.arrays.empty()  ? listing.arrays
                                 : !listing.pickles.empty() ? listing.pickles
                                                            : listing.records;
  const std::vector<path> files = of_split(all, options.split, where);
  ImageSource source = !listing.tars.empty()      ? open_tars(files, folder)
                       : !listing.arrays.empty()  ? open_npz_images(files, options, where)
                       : !listing.pickles.empty() ? open_pickles(files, options, where)
                                                  : open_cifar10_binary(files, where);
  if (files.size() < all.size())
    source.notes.push_back(where + " holds the files of several splits: " + std::to_string(files.size()) + " of " +
                           std::to_string(all.size()) + " were taken for --split=" + options.split + ", from " +
                           files.front().filename().string() + " on");
  if (listing.tars.empty())
    if (const std::string missing = missing_part_note(files); !missing.empty()) source.notes.push_back(missing);
  if (listing.others > 0)
    source.notes.push_back(std::to_string(listing.others) + " other files of " + where + " were left out");
  return source;
}

}  // namespace

ImageSource open_source(const std::string& source, const SourceOptions& options) {
  if (std::filesystem::is_directory(source)) try {
      return open_folder_of_files(source, options);
    } catch (const std::filesystem::filesystem_error& error) {  // a loop of links, a folder that may not be read
      throw Error("--source=" + source + ": " + error.code().message() + ": " + error.path1().string() +
                  ". Repair it, or move it away.");
    }
  const size_t comma = source.find(".npy,");
  const path file = comma == std::string::npos ? source : source.substr(0, comma + 4);
  check(std::filesystem::exists(file), "--source=" + source + ": no such file or folder: " + file.string());
  const std::string extension = file.extension().string();
  check(!is_compressed_name(file),
        "--source=" + source + " is compressed: images in it cannot be read one by one. Decompress it first.");
  if (extension == ".tar") return open_tar(file);
  if (data::is_hdf5_name(file)) return open_hdf5(file, options);
  if (extension == ".npz") return open_npz_images({file}, options, file.string());
  if (extension == ".npy") return open_npy_images(file, comma == std::string::npos ? "" : source.substr(comma + 5));
  if (extension == ".bin") return open_cifar10_binary({file}, file.string());
  if (is_pickle(file)) return open_pickles({file}, options, file.string());
  throw Error("--source=" + source +
              " is neither a folder, nor a .tar, .npz, .npy or .h5 file, nor a batch of CIFAR-10 or the downsampled "
              "ImageNet.");
}

std::string spool_note(const std::string& what, uint64_t bytes, const SourceOptions& options) {
  char size[32];
  std::snprintf(size, sizeof size, "%.1f MB", static_cast<double>(bytes) / 1e6);
  return what + " into a temporary file of " + size + " in " + options.spool_folder.string() + ", by each rank";
}

}  // namespace cfm::packer
