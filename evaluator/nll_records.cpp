#include "evaluator/nll_records.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstring>
#include <sstream>
#include <utility>

#include "base/durable_file.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/number_text.h"

namespace cfm::evaluator {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSuffix = ".records";

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

std::string line_hash(const std::string& key, const std::string& numbers) {
  const std::string text = key + "\n" + numbers;
  return xxh3_128_hex(text.data(), text.size()).substr(0, 16);
}

[[noreturn]] void fail(const std::string& doing, const fs::path& file) {
  throw Error("cannot " + doing + " " + file.string() + ": " + std::strerror(errno), ExitCode::kRetry);
}

// False for what is not a line of this key.
bool parse_line(const std::string& line, const std::string& key, flow::DrawDensity& density) {
  const size_t last = line.rfind(' ');
  if (last == std::string::npos || line.substr(last + 1) != line_hash(key, line.substr(0, last))) return false;
  std::istringstream words(line);
  std::string log_p;
  words >> density.image >> density.k >> density.nfe >> log_p;
  const auto [end, error] = std::from_chars(log_p.data(), log_p.data() + log_p.size(), density.log_p);
  return error == std::errc() && end == log_p.data() + log_p.size() && std::isfinite(density.log_p);
}

}  // namespace

std::string record_line(const flow::DrawDensity& density, const std::string& key) {
  const std::string numbers = number_text(density.image) + " " + number_text(density.k) + " " +
                              number_text(density.nfe) + " " + number_text(density.log_p);
  return numbers + " " + line_hash(key, numbers) + "\n";
}

KeptRecords parse_records(const std::string& text, const std::string& key) {
  KeptRecords kept;
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find('\n', at);
    flow::DrawDensity density{};
    if (end != std::string::npos && parse_line(text.substr(at, end - at), key, density)) {
      kept.records[{density.image, density.k}] = density;
    } else {
      ++kept.damaged_lines;
    }
    at = end == std::string::npos ? text.size() : end + 1;
  }
  return kept;
}

KeptRecords read_records(const fs::path& folder, const std::string& key) {
  KeptRecords all;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    if (entry->path().extension() != kSuffix) continue;
    KeptRecords of_file = parse_records(read_file(entry->path()), key);
    all.records.merge(of_file.records);
    all.damaged_lines += of_file.damaged_lines;
  }
  if (error && error != std::errc::no_such_file_or_directory)
    throw Error("cannot list " + folder.string() + ": " + error.message(), ExitCode::kRetry);
  return all;
}

RecordFile::RecordFile(fs::path file, std::string key) : file_(std::move(file)), key_(std::move(key)), synced_(now()) {
  file_ += kSuffix;
  descriptor_ = ::open(file_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0644);
  if (descriptor_ < 0) fail("create", file_);
}

RecordFile::~RecordFile() { ::close(descriptor_); }

void RecordFile::append(const flow::DrawDensity& density) {
  const std::string line = record_line(density, key_);
  for (size_t done = 0; done < line.size();) {
    const ssize_t written = ::write(descriptor_, line.data() + done, line.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail("append to", file_);
    done += static_cast<size_t>(written);
  }
  lines_ += line;
  constexpr double kSyncSeconds = 5;
  if (now() - synced_ < kSyncSeconds) return;
  if (::fdatasync(descriptor_) != 0) fail("sync", file_);
  synced_ = now();
}

}  // namespace cfm::evaluator
