#pragma once
// RUN/results/<metric>-step_000012000-<tag>.json and what lies beside it. docs/formats.md.

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"

namespace cfm::evaluator {

using Json = nlohmann::ordered_json;

struct ResultFile {
  std::filesystem::path folder;  // RUN/results
  std::string metric;
  int64_t step = 0;
  std::string tag;
  std::string name() const;  // nll-step_000012000-<tag>
  std::filesystem::path json() const { return folder / (name() + ".json"); }
  std::filesystem::path csv() const { return folder / (name() + ".csv"); }
  std::filesystem::path parts() const { return folder / (name() + ".parts"); }  // of a result that is being made
  std::filesystem::path claim() const { return folder / (name() + ".claim"); }  // evaluator/claim.h
};

// Ten hex digits of all that decides the number: another setting is another tag.
std::string tag_of(const Json& settings);

// Error, naming what differs, unless the result or the begun one under this name was made with the same settings.
// `found`: the settings that it says.
void check_same_settings(const Json& found, const Json& ours, const std::string& where);

// Whether the result is there already. Otherwise its folder is made if need be. Error as check_same_settings, or if
// the folder cannot be made. On one rank.
bool is_done(const ResultFile& file, const Json& settings);
// The same; if the result is not there, makes parts(), with settings.json in it, or finds what was begun there.
bool is_done_or_begin(const ResultFile& file, const Json& settings);

// Problems of a --tag.
Problems tag_problems(const std::string& tag);

// The parsed file; Error naming it if it is not JSON.
Json read_json(const std::filesystem::path& file);

// `command` as it is started on so many ranks.
std::string launched(const std::string& command, int ranks);

// "2026-01-31T23:59:59Z"
std::string utc_now();

// A folder of a result, and those above it, unless they are there. Error names it.
void make_result_folder(const std::filesystem::path& folder);

}  // namespace cfm::evaluator
