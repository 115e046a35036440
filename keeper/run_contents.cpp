#include "keeper/run_contents.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <system_error>
#include <tuple>

#include "base/durable_file.h"
#include "base/error.h"
#include "base/grouped_number.h"
#include "base/lease.h"
#include "checkpoint/store.h"

namespace cfm::keeper {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::string_view kWeightsEnding = ".safetensors", kEma = "ema_";

// Sorted; a folder that is not there, or goes meanwhile, has none.
std::vector<fs::path> entries_of(const fs::path& folder) {
  std::vector<fs::path> paths;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error))
    paths.push_back(entry->path());
  std::ranges::sort(paths);
  return paths;
}

// Zeros for a file that is gone.
struct stat status_of(const fs::path& file) {
  struct stat status {};
  if (::stat(file.c_str(), &status) != 0) status = {};
  return status;
}

void add_files(const fs::path& folder, int64_t& bytes, std::time_t& changed) {
  changed = std::max(changed, status_of(folder).st_mtime);
  for (const fs::path& file : entries_of(folder)) {
    const struct stat status = status_of(file);
    bytes += S_ISREG(status.st_mode) ? status.st_size : 0;
    changed = std::max(changed, status.st_mtime);
  }
}

std::string problem_of(const fs::path& folder, const checkpoint::Manifest& manifest, int64_t step) {
  if (manifest.progress.step != step)
    return "its manifest is of step " + std::to_string(manifest.progress.step) + ": the folder was renamed";
  for (const checkpoint::FileRecord& file : manifest.files) {
    const struct stat status = status_of(folder / file.name);
    if (!S_ISREG(status.st_mode)) return file.name + " is missing";
    if (status.st_size != file.bytes)
      return file.name + " has " + grouped(status.st_size) + " bytes, its manifest records " + grouped(file.bytes);
  }
  return "";
}

CheckpointFacts facts_of(const fs::path& folder, int64_t step) {
  CheckpointFacts facts{.step = step, .committed = status_of(folder / "manifest.json").st_mtime};
  std::time_t changed = 0;
  add_files(folder, facts.bytes, changed);
  try {
    const checkpoint::Manifest manifest = checkpoint::read_manifest(folder);
    facts.images_seen = manifest.progress.images_seen;
    for (const checkpoint::FileRecord& file : manifest.files) {
      if (file.name == "model.safetensors") facts.weights.insert(facts.weights.begin(), "raw");
      if (file.name.starts_with(kEma) && file.name.ends_with(kWeightsEnding))
        facts.weights.push_back(file.name.substr(0, file.name.size() - kWeightsEnding.size()));
    }
    facts.problem = problem_of(folder, manifest, step);
  } catch (const Error& e) {
    facts.problem = e.what();
  }
  return facts;
}

std::string what_is(const std::string& name) {
  if (name.ends_with(checkpoint::kDeleted)) return "being deleted";
  if (name.ends_with(checkpoint::kUnfinished)) return "unfinished";
  if (name.find(".damaged") != std::string::npos) return "damaged, set aside";
  return "damaged, no manifest.json";
}

struct ResultName {
  std::string metric, tag;
  int64_t step;
};

// Of "nll-step_000012000-ab12cd34ef"; nothing for any other name.
std::optional<ResultName> result_name(const std::string& stem) {
  constexpr std::string_view kStep = "-step_";
  const size_t at = stem.find(kStep);
  if (at == std::string::npos || at == 0) return std::nullopt;
  ResultName name{.metric = stem.substr(0, at), .tag = "", .step = -1};
  const char* const end = stem.data() + stem.size();
  const auto [stop, error] = std::from_chars(stem.data() + at + kStep.size(), end, name.step);
  if (error != std::errc() || stop == end || *stop != '-' || name.step < 0) return std::nullopt;
  name.tag = std::string(stop + 1, end);
  return name;
}

template <typename... Values>
std::string format(const char* pattern, Values... values) {
  std::array<char, 120> text{};
  std::snprintf(text.data(), text.size(), pattern, values...);
  return text.data();
}

std::string nll_text(const json& result) {
  std::string text = format("%.4f", result.at("bits_per_dim").get<double>());
  const json error = result.value("standard_error", json());
  if (error.is_number()) text += format(" +- %.4f", error.get<double>());
  return text + " bits/dim, " + grouped(result.at("images").get<int64_t>()) + " images";
}

std::string fid_text(const json& result) {
  return format("%.4g", result.at("fid").at("mean").get<double>()) + ", " +
         grouped(result.at("samples").get<int64_t>()) + " samples";
}

std::string value_of(const ResultName& name, const fs::path& file) {
  try {
    const json result = json::parse(read_file(file));
    if (name.metric == "nll") return nll_text(result);
    if (name.metric == "fid") return fid_text(result);
    if (name.metric == "fid_sweep") return std::to_string(result.at("curve").size()) + " points";
    return "of a metric that this program does not know";
  } catch (const std::exception& e) {
    return std::string("cannot be read: ") + e.what();
  }
}

std::vector<ClaimFacts> claims_in(const fs::path& run_dir) {
  std::vector<ClaimFacts> claims;
  for (const fs::path& file : entries_of(run_dir / "results")) {
    const std::optional<ResultName> name = result_name(file.stem().string());
    if (file.extension() != ".claim" || !name) continue;
    LeaseSeeker seeker(file);
    const bool held = seeker.is_held();
    claims.push_back({file.stem().string(), name->step, seeker.holder().text(), !held});
  }
  std::ranges::stable_sort(claims, {}, &ClaimFacts::step);
  return claims;
}

}  // namespace

std::vector<ResultFacts> results_in(const fs::path& run_dir) {
  std::vector<ResultFacts> results;
  for (const fs::path& file : entries_of(run_dir / "results")) {
    const std::optional<ResultName> name = result_name(file.stem().string());
    if (file.extension() != ".json" || !name) continue;
    results.push_back({file, name->metric, name->tag, name->step, value_of(*name, file)});
  }
  std::ranges::stable_sort(results, {}, &ResultFacts::step);
  return results;
}

RunContents contents_of(const fs::path& run_dir) {
  check(fs::is_directory(run_dir), "--run_dir=" + run_dir.string() + ": there is no such folder");
  RunContents contents;
  const std::vector<int64_t> steps = checkpoint::committed_steps(run_dir);
  const fs::path folder = checkpoint::checkpoints_folder(run_dir);
  std::vector<std::string> committed;
  for (const int64_t step : steps) {
    committed.push_back(checkpoint::step_name(step));
    contents.checkpoints.push_back(facts_of(folder / committed.back(), step));
  }
  for (const fs::path& entry : entries_of(folder)) {
    const std::string name = entry.filename().string();
    if (!name.starts_with("step_") || std::ranges::find(committed, name) != committed.end()) continue;
    OtherFolder other{.name = name, .what = what_is(name)};
    add_files(entry, other.bytes, other.changed);
    contents.others.push_back(other);
  }
  contents.results = results_in(run_dir);
  contents.claims = claims_in(run_dir);
  LeaseSeeker trainer(run_dir / "trainer.lease");
  if (trainer.is_held()) contents.trainer = trainer.holder().text();
  return contents;
}

}  // namespace cfm::keeper
