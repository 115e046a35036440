#pragma once
// What cfm_eval_nll has computed so far, safe from kills: RUN/results/<name>.parts/ holds one append-only file of lines
// for each rank of each start. docs/formats.md.

#include <filesystem>
#include <map>
#include <string>
#include <utility>

#include "flow/likelihood.h"

namespace cfm::evaluator {

// By (image, draw).
using DrawRecords = std::map<std::pair<int64_t, int64_t>, flow::DrawDensity>;

// "image k nfe log_p hash\n", the hash over `key` and what stands before it.
std::string record_line(const flow::DrawDensity& density, const std::string& key);

struct KeptRecords {
  DrawRecords records;
  int64_t damaged_lines = 0;  // torn or of another key: their draws are made again
};

// The intact lines of a text.
KeptRecords parse_records(const std::string& text, const std::string& key);

// Those of all files of a folder, whoever wrote them; none if there is no folder. A draw that was made twice has the
// same numbers.
KeptRecords read_records(const std::filesystem::path& folder, const std::string& key);

// One rank's file. Every line is one write: a killed rank loses what it has not appended, a crashed machine what was
// not yet synced (every few seconds).
class RecordFile {
 public:
  // Creates `file`, which must not exist. Error(kRetry) if it cannot be written.
  RecordFile(std::filesystem::path file, std::string key);
  ~RecordFile();
  RecordFile(const RecordFile&) = delete;
  RecordFile& operator=(const RecordFile&) = delete;
  void append(const flow::DrawDensity& density);
  // What has been appended.
  const std::string& lines() const { return lines_; }

 private:
  std::filesystem::path file_;
  std::string key_, lines_;
  int descriptor_ = -1;
  double synced_ = 0;  // seconds of the steady clock
};

}  // namespace cfm::evaluator
