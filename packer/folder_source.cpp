#include <algorithm>
#include <memory>

#include "base/error.h"
#include "data/file_names.h"
#include "packer/image_names.h"
#include "packer/image_source.h"

namespace cfm::packer {
namespace {

using std::filesystem::path;

// Names of files, a million of them: each folder once, and some 12 bytes a file beside its name.
class FileList {
 public:
  int64_t size() const { return static_cast<int64_t>(starts_.size()); }
  // Files of one folder; REQUIRES: names.
  void add(const path& folder, const std::vector<std::string>& names) {
    for (const std::string& name : names) {
      starts_.push_back(names_.size());
      folder_of_.push_back(static_cast<uint32_t>(folders_.size()));
      names_ += name;
    }
    folders_.push_back(folder.string());
  }
  path operator[](int64_t i) const {
    const auto at = static_cast<size_t>(i);
    const size_t end = at + 1 < starts_.size() ? starts_[at + 1] : names_.size();
    return path(folders_[folder_of_[at]]) / names_.substr(starts_[at], end - starts_[at]);
  }
  void shrink() {
    starts_.shrink_to_fit();
    folder_of_.shrink_to_fit();
    names_.shrink_to_fit();
  }

 private:
  std::string names_;
  std::vector<uint64_t> starts_;
  std::vector<uint32_t> folder_of_;
  std::vector<std::string> folders_;
};

struct Listing {
  std::vector<std::string> folders, images;  // by name
  int64_t others = 0;
  std::string first_other;
};

Listing list(const path& folder) {
  Listing listing;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::string name = entry.path().filename().string();
    if (entry.is_directory()) {
      listing.folders.push_back(std::move(name));
    } else if (data::is_image_name(name)) {
      listing.images.push_back(std::move(name));
    } else {
      if (listing.others++ == 0 || name < listing.first_other) listing.first_other = std::move(name);
    }
  }
  std::ranges::sort(listing.folders);
  std::ranges::sort(listing.images);
  return listing;
}

struct Found {
  FileList images;
  int64_t others = 0;
  std::string first_other;
};

void add(const path& folder, const Listing& here, Found& found) {
  if (!here.images.empty()) found.images.add(folder, here.images);
  if (here.others > 0 && found.others == 0) found.first_other = (folder / here.first_other).string();
  found.others += here.others;
}

// Images at any depth, those of a folder before those of its folders.
void collect(const path& folder, Found& found) {
  const Listing here = list(folder);
  add(folder, here, found);
  for (const std::string& below : here.folders) collect(folder / below, found);
}

}  // namespace

ImageSource open_folder(const path& folder) {
  const Listing top = list(folder);
  if (!top.images.empty() && !top.folders.empty())
    throw Error("folder " + folder.string() + " holds both images (" + top.images.front() + ") and folders (" +
                top.folders.front() + "); expected class folders, or images alone.");
  check_no_splits(top.folders, folder);
  ImageSource source;
  Found found;
  add(folder, top, found);
  source.labels.assign(top.images.size(), 0);
  for (const std::string& name : top.folders) {
    const int64_t before = found.images.size();
    collect(folder / name, found);
    check(found.images.size() > before,
          "class folder " + (folder / name).string() +
              " holds no .png, .jpg or .jpeg files. Remove it, or fill it: labels follow the folders' order.");
    source.labels.resize(static_cast<size_t>(found.images.size()), static_cast<int64_t>(source.class_names.size()));
    source.class_names.push_back(name);
  }
  check(found.images.size() > 0,
        "folder " + folder.string() + " holds no .png, .jpg or .jpeg files, nor class folders of them.");
  if (top.folders.empty()) source.notes.push_back(flat_note());
  if (found.others > 0) source.notes.push_back(left_out_note(found.others, found.first_other));
  source.description = "folder " + folder.string() +
                       (top.folders.empty() ? ", flat" : ", " + std::to_string(top.folders.size()) + " class folders");
  source.labels.shrink_to_fit();
  found.images.shrink();
  const auto files = std::make_shared<const FileList>(std::move(found.images));
  source.read = [files](int64_t i) { return data::read_image((*files)[i]); };
  source.image_name = [files](int64_t i) { return (*files)[i].string(); };
  return source;
}

}  // namespace cfm::packer
