#include "evaluator/result_file.h"

#include <array>
#include <ctime>
#include <set>

#include "base/durable_file.h"
#include "base/hash.h"
#include "checkpoint/store.h"

namespace cfm::evaluator {

namespace fs = std::filesystem;

void make_result_folder(const fs::path& folder) { make_folder(folder, "the result", "Give another --results_dir."); }

std::string ResultFile::name() const { return metric + "-" + checkpoint::step_name(step) + "-" + tag; }

std::string tag_of(const Json& settings) {
  const std::string text = settings.dump();
  return xxh3_128_hex(text.data(), text.size()).substr(0, 10);
}

void check_same_settings(const Json& found, const Json& ours, const std::string& where) {
  std::set<std::string> names;
  for (const Json* settings : {&found, &ours})
    for (const auto& [name, value] : settings->items()) names.insert(name);
  const auto value_in = [](const Json& settings, const std::string& name) {
    return settings.contains(name) ? settings.at(name).dump() : "none";
  };
  std::string differences;
  for (const std::string& name : names) {
    const std::string there = value_in(found, name), here = value_in(ours, name);
    if (there != here) differences += "\n  " + name + ": there " + there + ", here " + here;
  }
  check(differences.empty(), where + " is of other settings; give another --tag, or leave it out." + differences);
}

bool is_done(const ResultFile& file, const Json& settings) {
  if (fs::exists(file.json())) {
    check_same_settings(read_json(file.json()).value("settings", Json::object()), settings, file.json().string());
    return true;
  }
  make_result_folder(file.folder);
  return false;
}

bool is_done_or_begin(const ResultFile& file, const Json& settings) {
  if (is_done(file, settings)) return true;
  make_result_folder(file.parts());
  const fs::path begun = file.parts() / "settings.json";
  if (fs::exists(begun)) {
    check_same_settings(read_json(begun), settings, file.parts().string());
  } else {
    write_durably(begun, settings.dump(1) + "\n");
  }
  return false;
}

Problems tag_problems(const std::string& tag) {
  const bool legal =
      tag.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") == std::string::npos;
  if (legal && !tag.starts_with(".")) return {};
  return {"--tag=" + tag + ": it is part of a file's name; expected letters, digits, _ . and -"};
}

Json read_json(const std::filesystem::path& file) {
  Json json = Json::parse(read_file(file), nullptr, /*allow_exceptions=*/false);
  check(json.is_object(), file.string() + " is not JSON: it is damaged. Move it away");
  return json;
}

std::string launched(const std::string& command, int ranks) {
  return ranks > 1 ? "mpirun -n " + std::to_string(ranks) + " " + command : command;
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text.data();
}

}  // namespace cfm::evaluator
