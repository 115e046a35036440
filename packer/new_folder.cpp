#include "packer/new_folder.h"

#include "base/durable_file.h"
#include "base/error.h"

namespace cfm::packer {
namespace {

using std::filesystem::path;

void check_replaceable(const path& folder, const std::string& split) {
  if (!std::filesystem::exists(folder)) return;
  check(std::filesystem::is_directory(folder),
        folder.string() + " is not a folder. Move it away, or give another --out.");
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    check(entry.is_regular_file() && name.starts_with(split + "-") &&
              (name.ends_with(".h5") || name.ends_with(".h5.tmp")),
          folder.string() + " holds more than shards: " + name + ". Move it away, or give another --out or --split.");
  }
}

}  // namespace

NewFolder::NewFolder(path folder, const std::string& split) : folder_(std::move(folder)) {
  for (const path& taken : {folder_, place(), old()}) check_replaceable(taken, split);
  std::filesystem::remove_all(place());
  std::filesystem::create_directories(place());
}

NewFolder::~NewFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(place(), ignored);
}

void NewFolder::commit() {
  std::filesystem::remove_all(old());
  if (std::filesystem::exists(folder_)) std::filesystem::rename(folder_, old());
  rename_durably(place(), folder_);
  std::filesystem::remove_all(old());
}

}  // namespace cfm::packer
