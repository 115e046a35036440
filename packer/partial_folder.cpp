#include "packer/partial_folder.h"

#include <utility>
#include <vector>

#include "base/durable_file.h"
#include "base/error.h"

namespace cfm::packer {
namespace {

using std::filesystem::path;

constexpr const char* kPackingName = "packing.json";
constexpr const char* kLockName = "packing.lock";
constexpr const char* kTaken = "another cfm_pack is at work there. Wait for its end, or give another --out or --split";

bool is_ours(const std::string& name, const std::string& split) {
  if (name == kPackingName || name == kPackingName + std::string(".tmp") || name == kLockName) return true;
  return name.starts_with(split + "-") && (name.ends_with(".h5") || name.ends_with(".h5.tmp"));
}

void check_replaceable(const path& folder, const std::string& split) {
  if (!std::filesystem::exists(folder)) return;
  check(std::filesystem::is_directory(folder),
        folder.string() + " is not a folder. Move it away, or give another --out.");
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    check(entry.is_regular_file() && is_ours(name, split),
          folder.string() + " holds more than shards: " + name + ". Move it away, or give another --out or --split.");
  }
}

std::vector<path> files_ending(const path& folder, const std::string& end) {
  std::vector<path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.path().filename().string().ends_with(end)) files.push_back(entry.path());
  return files;
}

void remove_all_of(const std::vector<path>& files) {
  for (const path& file : files) std::filesystem::remove(file);
}

}  // namespace

PartialFolder::PartialFolder(path folder, const Packing& packing, bool start_again, const parallel::MpiSession& session)
    : folder_(std::move(folder)) {
  const bool leads = session.rank() == 0;
  parallel::agree_on(session, [&] {
    if (leads) prepare(packing, start_again);
  });
  parallel::agree_on(session, [&] {
    if (!leads) lock_ = std::make_unique<FileLock>(place() / kLockName, FileLock::Kind::kShared, kTaken);
  });
}

void PartialFolder::prepare(const Packing& packing, bool start_again) {
  for (const path& taken : {folder_, place(), old()}) check_replaceable(taken, packing.split);
  make_folder(place(), "--out=" + folder_.parent_path().string(),
              "Name another, or see to it that this one can be written.");
  lock_ = std::make_unique<FileLock>(place() / kLockName, FileLock::Kind::kExclusive, kTaken);
  remove_all_of(files_ending(place(), ".tmp"));
  const path identity = place() / kPackingName;
  const std::string difference =
      std::filesystem::exists(identity) ? packing.difference_from(read_file(identity)) : "there is no packing.json";
  if (!difference.empty()) {
    const std::vector<path> shards = files_ending(place(), ".h5");
    check(shards.empty() || start_again,
          place().string() + " holds " + std::to_string(shards.size()) + " finished shards of another packing: " +
              difference + ". Give that one's settings to finish it, --overwrite to start again, or another --out.");
    remove_all_of(shards);
    write_durably(identity, packing.json());
  }
  lock_->share();
}

void PartialFolder::commit() {
  std::filesystem::remove_all(old());
  if (std::filesystem::exists(folder_)) std::filesystem::rename(folder_, old());
  rename_durably(place(), folder_);
  std::filesystem::remove(folder_ / kLockName);
  std::filesystem::remove_all(old());
}

}  // namespace cfm::packer
