#pragma once
#include <filesystem>
#include <string>

namespace cfm::packer {

// FOLDER.tmp, which takes FOLDER's place as a whole or is removed.
class NewFolder {
 public:
  // Makes FOLDER.tmp, empty. Error if FOLDER, FOLDER.tmp or FOLDER.old holds anything but shards of `split`: such a
  // folder is never replaced, whoever named it.
  NewFolder(std::filesystem::path folder, const std::string& split);
  ~NewFolder();
  NewFolder(const NewFolder&) = delete;
  NewFolder& operator=(const NewFolder&) = delete;
  std::filesystem::path place() const { return folder_.string() + ".tmp"; }
  void commit();

 private:
  std::filesystem::path old() const { return folder_.string() + ".old"; }
  const std::filesystem::path folder_;
};

}  // namespace cfm::packer
