#include "trainer/found_results.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <optional>
#include <set>
#include <string_view>
#include <tuple>
#include <utility>

#include "base/durable_file.h"
#include "base/error.h"
#include "checkpoint/store.h"
#include "metrics/result_numbers.h"

namespace cfm::trainer {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::seconds kStill(10);
constexpr std::string_view kOfTags = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";

struct Result {
  fs::path file;
  std::string evaluator, tag;
  int64_t step = 0;
  fs::file_time_type written;
};

// Of a file that is called as results are: nll-step_000012000-<tag>.json.
std::optional<Result> result_at(const fs::path& file) {
  const std::string name = file.stem().string();
  const size_t at = name.find("-step_");
  if (file.extension() != ".json" || at == std::string::npos) return std::nullopt;
  Result result{.file = file, .evaluator = name.substr(0, at), .tag = {}, .step = 0, .written = {}};
  const char* const end = name.data() + name.size();
  const auto [stopped, error] = std::from_chars(name.data() + at + 6, end, result.step);
  if (error != std::errc() || stopped == end) return std::nullopt;
  result.tag = std::string(stopped + 1, end);
  const bool as_written = name == result.evaluator + "-" + checkpoint::step_name(result.step) + "-" + result.tag;
  const bool known = result.evaluator == "nll" || result.evaluator == "fid";
  if (!known || !as_written || result.tag.empty() || result.tag.find_first_not_of(kOfTags) != std::string::npos)
    return std::nullopt;
  std::error_code gone;
  result.written = fs::last_write_time(file, gone);
  if (gone) return std::nullopt;
  return result;
}

bool is_newer(const Result& a, const Result& b) {
  return std::tie(a.step, a.written, a.tag) > std::tie(b.step, b.written, b.tag);
}

// Of each evaluator the newest `most`; nothing if the folder cannot be listed.
std::optional<std::vector<Result>> newest_results(const fs::path& folder, size_t most) {
  std::map<std::string, std::vector<Result>> by_evaluator;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error))
    if (std::optional<Result> result = result_at(entry->path()))
      by_evaluator[result->evaluator].push_back(std::move(*result));
  if (error) return std::nullopt;
  std::vector<Result> newest;
  for (auto& [evaluator, results] : by_evaluator) {
    std::ranges::sort(results, is_newer);
    for (size_t i = 0; i < std::min(results.size(), most); ++i) newest.push_back(std::move(results[i]));
  }
  return newest;
}

double since_1970(fs::file_time_type time) {
  return std::chrono::duration<double>(std::chrono::file_clock::to_sys(time).time_since_epoch()).count();
}

}  // namespace

void FoundResults::look(metrics::Series& series) {
  std::error_code gone;
  const fs::file_time_type changed = fs::last_write_time(folder_, gone);
  if (gone || changed == listed_) return;
  const std::optional<std::vector<Result>> results = newest_results(folder_, kMost);
  if (!results) return;
  std::set<std::string> there;
  for (const Result& result : *results) there.insert(result.file.filename().string());
  std::erase_if(told_, [&](const auto& known) {
    if (there.contains(known.first)) return false;
    forget(known.second, series);
    return true;
  });
  bool all_read = true;
  double newest = 0;
  for (const Result& result : *results) {
    Told& told =
        told_.try_emplace(result.file.filename().string(), std::to_string(result.step), result.tag).first->second;
    if (told.written != result.written && !read(result.file, result.written, told, series)) all_read = false;
    if (!told.metrics.empty()) newest = std::max(newest, since_1970(told.written));
  }
  if (newest > 0) series.set("cfm_result_time_seconds", newest);
  // Another change may have got the same time.
  if (all_read && fs::file_time_type::clock::now() - changed > kStill) listed_ = changed;
}

// Whether it could be read: else it is at the next look.
bool FoundResults::read(const fs::path& file, fs::file_time_type written, Told& told, metrics::Series& series) {
  std::string text;
  try {
    text = read_file(file);
  } catch (const Error&) {
    return false;
  }
  forget(told, series);
  told.metrics.clear();
  told.written = written;
  for (const auto& [metric, value] : metrics::result_numbers(text)) {
    series.set("cfm_result", value, {metric, told.step, told.tag});
    told.metrics.push_back(metric);
  }
  return true;
}

void FoundResults::forget(const Told& told, metrics::Series& series) {
  for (const std::string& metric : told.metrics) series.remove("cfm_result", {metric, told.step, told.tag});
}

}  // namespace cfm::trainer
