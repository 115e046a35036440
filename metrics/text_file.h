#pragma once
// Series in a file, for node_exporter's textfile collector where scraping is barred.

#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

namespace cfm::metrics {

// There while the process is: written at once and then again and again on a thread of its own, so that a program that
// hangs is told of too; removed at the end. What cannot be written is warned of once and ends nothing.
class TextFile {
 public:
  // `text`: from any thread.
  TextFile(std::filesystem::path file, std::function<std::string()> text,
           std::chrono::milliseconds every = std::chrono::seconds(10));
  ~TextFile();
  TextFile(const TextFile&) = delete;
  TextFile& operator=(const TextFile&) = delete;
  const std::filesystem::path& file() const { return file_; }

 private:
  void write();
  void keep_writing();
  const std::filesystem::path file_;
  const std::function<std::string()> text_;
  const std::chrono::milliseconds every_;
  bool warned_ = false;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool ending_ = false;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace cfm::metrics
