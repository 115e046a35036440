#include "metrics/text_file.h"

#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include "base/durable_file.h"
#include "base/log.h"

namespace cfm::metrics {
namespace {

// Nothing if there is no such file.
std::optional<std::chrono::seconds> age_of(const std::filesystem::path& file) {
  std::error_code error;
  const auto written = std::filesystem::last_write_time(file, error);
  if (error) return std::nullopt;
  return std::chrono::duration_cast<std::chrono::seconds>(std::filesystem::file_time_type::clock::now() - written);
}

}  // namespace

TextFile::TextFile(std::filesystem::path file, std::function<std::string()> text, std::chrono::milliseconds every)
    : file_(std::move(file)), text_(std::move(text)), every_(every) {
  if (const std::optional<std::chrono::seconds> age = age_of(file_); age && *age < 3 * every_)
    warn("metrics: " + file_.string() + " was written " + std::to_string(age->count()) +
         " s ago: if by another job that is at work, the two take turns. Give each a file of its own, or a folder");
  write();
  thread_ = std::thread([this] { keep_writing(); });
}

TextFile::~TextFile() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  wake_.notify_all();
  thread_.join();
  std::error_code error;
  std::filesystem::remove(file_, error);
}

void TextFile::write() {
  try {
    write_durably(file_, text_());
  } catch (const std::exception& e) {
    if (!warned_) warn(std::string("metrics: ") + e.what() + ". The run goes on");
    warned_ = true;
  }
}

void TextFile::keep_writing() {
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, every_, [this] { return ending_; })) {
    lock.unlock();
    write();
    lock.lock();
  }
}

}  // namespace cfm::metrics
