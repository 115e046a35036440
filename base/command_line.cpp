#include "base/command_line.h"

#include <gflags/gflags.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <numeric>
#include <set>
#include <sstream>
#include <string_view>
#include <tuple>
#include <utility>

#include "base/durable_file.h"
#include "base/error.h"

namespace cfm {
namespace {

using Flags = std::map<std::string, gflags::CommandLineFlagInfo>;

constexpr const char* kCommandLine = "command line";
constexpr std::string_view kBlanks = " \t\r\v\f";

Flags flags_defined_in(const std::string& source_file) {
  std::vector<gflags::CommandLineFlagInfo> all;
  gflags::GetAllFlags(&all);
  Flags flags;
  for (const gflags::CommandLineFlagInfo& flag : all) {
    if (flag.filename == source_file) flags.emplace(flag.name, flag);
  }
  return flags;
}

std::string trimmed(const std::string& text) {
  const size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

// The line up to a # that stands at its start or behind a blank.
std::string without_comment(const std::string& line) {
  for (size_t at = line.find('#'); at != std::string::npos; at = line.find('#', at + 1)) {
    if (at == 0 || kBlanks.find(line[at - 1]) != std::string_view::npos) return line.substr(0, at);
  }
  return line;
}

// Levenshtein's distance: insertions, deletions and replacements that turn a into b.
size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i + 1);
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, diagonal + 1});
    }
  }
  return row[b.size()];
}

std::string did_you_mean(const std::string& name, const Flags& flags) {
  std::string best;
  size_t best_distance = std::max<size_t>(2, name.size() / 3) + 1;
  std::vector<std::string> candidates{"flagfile", "help"};
  for (const auto& [candidate, flag] : flags) candidates.push_back(candidate);
  for (const std::string& candidate : candidates) {
    const size_t distance = edit_distance(name, candidate);
    if (distance < best_distance) std::tie(best, best_distance) = std::pair(candidate, distance);
  }
  return best.empty() ? "" : " Did you mean --" + best + "?";
}

// One word that sets a flag, and where it stands.
struct Word {
  std::string text;
  std::string where;  // "configs/digits.flags:7", "command line"
};

// A file's or the command line's words.
struct Source {
  std::string name;
  std::filesystem::path directory;  // nested flagfiles are relative to it
  std::vector<Word> words;
};

// `--lr = 3`, `--lr= 3` and `--lr 3` arrive as several arguments and become one word, as they are in a flagfile.
Source source_of_arguments(const std::vector<std::string>& arguments) {
  Source source{"the command line", "", {}};
  for (const std::string& argument : arguments) {
    const std::string before = source.words.empty() ? "" : source.words.back().text;
    const bool wants_value =
        before.starts_with("--") && (before.find('=') == std::string::npos || before.ends_with('='));
    if (wants_value && before != "--" && !argument.starts_with('-')) {
      source.words.back().text += " " + argument;
    } else {
      source.words.push_back({argument, kCommandLine});
    }
  }
  return source;
}

Source source_of_file(const std::filesystem::path& file) {
  Source source{file.string(), file.parent_path(), {}};
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  std::string text = read_file(file);
  if (text.starts_with(kByteOrderMark)) text.erase(0, kByteOrderMark.size());
  if (text.find('\0') != std::string::npos)
    throw SharedError("--flagfile=" + file.string() +
                      " is no text file (it holds zero bytes); expected --name=value on each line.");
  std::istringstream lines(std::move(text));
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    const std::string word = trimmed(without_comment(line));
    if (!word.empty()) source.words.push_back({word, file.string() + ":" + std::to_string(number)});
  }
  return source;
}

class Parser {
 public:
  explicit Parser(const ProgramHelp& program) : program_(program), flags_(flags_defined_in(program.defined_in)) {}

  // Sets what `source` says, after what the flagfiles that it nests say.
  void read(const Source& source) {
    std::map<std::string, std::string> seen;  // flag to where
    std::vector<Setting> settings;
    for (const Word& word : source.words) {
      const Setting setting = setting_of(word);
      if (setting.name.empty()) continue;
      if (setting.name == "flagfile") {
        nest(source, setting);
        continue;
      }
      const auto [first, is_new] = seen.emplace(setting.name, setting.where);
      if (is_new) {
        settings.push_back(setting);
      } else {
        problem(setting.where, "--" + setting.name + " is set twice in " + source.name + ", first at " + first->second +
                                   ". Keep one of the two.");
      }
    }
    for (const Setting& setting : settings) set(setting);
  }

  const Problems& problems() const { return problems_; }

  // "configs/digits.flags:7" of the setting that counts; empty if the flag was not set, or not by a file.
  std::string place_of(const std::string& name) const {
    const auto place = places_.find(name);
    return place == places_.end() || place->second == kCommandLine ? "" : place->second;
  }

 private:
  struct Setting {
    std::string name, value, where;  // no name: it was a problem
  };

  void problem(const std::string& where, const std::string& what) { problems_.push_back(where + ": " + what); }

  Setting setting_of(const Word& word) {
    if (!word.text.starts_with("--") || word.text == "--") return not_a_flag(word);
    const size_t equals = word.text.find('=');
    const std::string name = word.text.substr(2, equals == std::string::npos ? equals : equals - 2);
    if (name.find_first_of(kBlanks) != std::string::npos) return blank_in_name(word, name, equals);
    if (equals == std::string::npos) return bare(word, name);
    const std::string value = word.text.substr(equals + 1);
    if (!is_known(name)) return unknown(word, name);
    if (value.find_first_of(kBlanks) == 0) {
      problem(word.where, "'" + word.text + "' has a blank behind '='. Write --" + name + "=" + trimmed(value) + ".");
      return {};
    }
    return {name, value, word.where};
  }

  Setting not_a_flag(const Word& word) {
    const std::string dashes_and_name = trimmed(word.text.substr(0, word.text.find('=')));
    const std::string name =
        dashes_and_name.substr(std::min(dashes_and_name.find_first_not_of('-'), dashes_and_name.size()));
    if (is_known(name)) {
      const size_t equals = word.text.find('=');
      const std::string value = equals == std::string::npos ? "" : "=" + trimmed(word.text.substr(equals + 1));
      problem(word.where, "'" + word.text + "' lacks its two dashes. Write --" + name + value + ".");
    } else {
      problem(word.where, "left-over argument '" + word.text + "': " + program_.name +
                              " takes flags only, each as --name=value. See " + program_.name + " --help.");
    }
    return {};
  }

  Setting blank_in_name(const Word& word, const std::string& name, size_t equals) {
    const std::string first = name.substr(0, name.find_first_of(kBlanks));
    const std::string rest = equals == std::string::npos ? name.substr(first.size()) : word.text.substr(equals + 1);
    if (!is_known(first)) return unknown(word, first);
    problem(word.where, "'" + word.text + "' has a blank behind the name. Write --" + first + "=" + trimmed(rest) +
                            (is_bool(first) ? ", or --" + first + " alone." : "."));
    return {};
  }

  // --name and --noname of a bool flag.
  Setting bare(const Word& word, const std::string& name) {
    if (is_bool(name)) return {name, "true", word.where};
    if (name.starts_with("no") && is_bool(name.substr(2))) return {name.substr(2), "false", word.where};
    if (!is_known(name)) return unknown(word, name);
    problem(word.where, "--" + name + " has no value. Write --" + name + "=VALUE, in one word without blanks.");
    return {};
  }

  Setting unknown(const Word& word, const std::string& name) {
    problem(word.where, program_.name + " has no flag --" + name + "." + did_you_mean(name, flags_) + " See " +
                            program_.name + " --help.");
    return {};
  }

  bool is_known(const std::string& name) const { return name == "flagfile" || flags_.count(name) > 0; }

  bool is_bool(const std::string& name) const {
    const auto flag = flags_.find(name);
    return flag != flags_.end() && flag->second.type == "bool";
  }

  void nest(const Source& source, const Setting& setting) {
    const std::filesystem::path file = source.directory / setting.value;
    if (setting.value.empty() || !std::filesystem::exists(file) || std::filesystem::is_directory(file)) {
      problem(setting.where, "--flagfile=" + setting.value + ": there is no file '" + file.string() +
                                 "'. Give a file, relative to the file that names it.");
      return;
    }
    const std::filesystem::path identity = std::filesystem::canonical(file);
    if (!open_files_.insert(identity).second) {
      problem(setting.where, "--flagfile=" + setting.value + ": " + file.string() +
                                 " nests itself. Remove this line, or the one that led here.");
      return;
    }
    read(source_of_file(file));
    open_files_.erase(identity);
  }

  void set(const Setting& setting) {
    places_[setting.name] = setting.where;
    if (!gflags::SetCommandLineOption(setting.name.c_str(), setting.value.c_str()).empty()) return;
    const std::string& type = flags_.at(setting.name).type;
    problem(setting.where, "--" + setting.name + "=" + setting.value + ": '" + setting.value +
                               "' is not a legal value of type " + type +
                               " (default: " + flags_.at(setting.name).default_value + ").");
  }

  const ProgramHelp& program_;
  Flags flags_;
  std::set<std::filesystem::path> open_files_;  // the chain of files that led here
  Problems problems_;
  std::map<std::string, std::string> places_;  // where each flag was set last
};

}  // namespace

bool parse_command_line(const ProgramHelp& program, const std::vector<std::string>& arguments) {
  if (std::find(arguments.begin(), arguments.end(), "--help") != arguments.end()) return true;
  Parser parser(program);
  parser.read(source_of_arguments(arguments));
  check_no_problems(parser.problems());
  return false;
}

ExitCode naming_places(const ProgramHelp& program, const std::vector<std::string>& arguments,
                       const std::function<ExitCode()>& work) try {
  return work();
} catch (const SharedError& error) {
  Parser parser(program);
  parser.read(source_of_arguments(arguments));
  std::istringstream lines(error.what());
  std::string text;
  for (std::string line; std::getline(lines, line);) {
    std::string problem = trimmed(line);
    if (problem.starts_with("rank ")) problem = problem.substr(std::min(problem.find(": ") + 2, problem.size()));
    const size_t end = problem.find_first_of("=: ");
    const std::string place =
        problem.starts_with("--") && end != std::string::npos ? parser.place_of(problem.substr(2, end - 2)) : "";
    text += (text.empty() ? "" : "\n") + line + (place.empty() ? "" : " (" + place + ")");
  }
  throw SharedError(text, error.exit_code());
}

}  // namespace cfm
