#include <algorithm>
#include <memory>

#include "base/error.h"
#include "packer/image_names.h"
#include "packer/image_source.h"

namespace cfm::packer {
namespace {

using std::filesystem::path;

std::vector<path> sorted(std::vector<path> paths) {
  std::ranges::sort(paths);
  return paths;
}

struct Listing {
  std::vector<path> folders, images, others;
};

Listing list(const path& folder) {
  Listing listing;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    auto& kind = entry.is_directory() ? listing.folders : is_image_name(entry.path()) ? listing.images : listing.others;
    kind.push_back(entry.path());
  }
  return {sorted(std::move(listing.folders)), sorted(std::move(listing.images)), sorted(std::move(listing.others))};
}

// Images at any depth, those of a folder before those of its folders.
void collect(const path& folder, std::vector<path>& images, std::vector<path>& others) {
  const Listing here = list(folder);
  images.insert(images.end(), here.images.begin(), here.images.end());
  others.insert(others.end(), here.others.begin(), here.others.end());
  for (const path& below : here.folders) collect(below, images, others);
}

}  // namespace

ImageSource open_folder(const path& folder) {
  const Listing top = list(folder);
  if (!top.images.empty() && !top.folders.empty())
    throw Error("folder " + folder.string() + " holds both images (" + top.images.front().filename().string() +
                ") and folders (" + top.folders.front().filename().string() +
                "); expected class folders, or images alone.");
  ImageSource source;
  std::vector<std::string> folders;
  for (const path& below : top.folders) folders.push_back(below.filename().string());
  check_no_splits(folders, folder);
  auto files = std::make_shared<std::vector<path>>(top.images);
  std::vector<path> others = top.others;
  source.labels.assign(files->size(), 0);
  for (const path& folder_of_class : top.folders) {
    const size_t before = files->size();
    collect(folder_of_class, *files, others);
    check(files->size() > before,
          "class folder " + folder_of_class.string() +
              " holds no .png, .jpg or .jpeg files. Remove it, or fill it: labels follow the folders' order.");
    source.labels.resize(files->size(), static_cast<int64_t>(source.class_names.size()));
    source.class_names.push_back(folder_of_class.filename().string());
  }
  check(!files->empty(),
        "folder " + folder.string() + " holds no .png, .jpg or .jpeg files, nor class folders of them.");
  if (top.folders.empty()) source.notes.push_back(flat_note());
  if (!others.empty())
    source.notes.push_back(left_out_note(static_cast<int64_t>(others.size()), others.front().string()));
  source.description = "folder " + folder.string() +
                       (top.folders.empty() ? ", flat" : ", " + std::to_string(top.folders.size()) + " class folders");
  source.read = [files](int64_t i) { return data::read_image((*files)[static_cast<size_t>(i)]); };
  source.image_name = [files](int64_t i) { return (*files)[static_cast<size_t>(i)].string(); };
  return source;
}

}  // namespace cfm::packer
