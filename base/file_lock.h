#pragma once
#include <filesystem>
#include <string>

namespace cfm {

// An advisory lock on a file (flock), which ends with the process that holds it however that ends. Where the file
// system knows no locks a warning says so, and there is none.
class FileLock {
 public:
  enum class Kind { kExclusive, kShared };
  // Makes the file if it is not there. Error(kRetry) if another process holds a lock that excludes this one; `taken`
  // says what that means and what to do: "another job packs here. Wait for its end, or give another --out".
  FileLock(std::filesystem::path file, Kind kind, std::string taken);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;
  // From exclusive to shared. Error(kRetry) if another process came between.
  void share();

 private:
  void lock(Kind kind) const;
  const std::filesystem::path file_;
  const std::string taken_;
  int descriptor_;
};

}  // namespace cfm
