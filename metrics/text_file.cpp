#include "metrics/text_file.h"

#include <system_error>
#include <utility>

#include "base/durable_file.h"
#include "base/log.h"

namespace cfm::metrics {

TextFile::TextFile(std::filesystem::path file, std::function<std::string()> text, std::chrono::milliseconds every)
    : file_(std::move(file)), text_(std::move(text)), every_(every) {
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
