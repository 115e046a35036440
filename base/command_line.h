#pragma once
// Command lines and flagfiles, read strictly. gflags holds the flags; alone it ignores unknown names, `--lr = 3` and
// missing dashes inside a flagfile without a word, so the reading is ours. The flags' values are read in the flags.cpp
// files only.
//
// A flagfile has one --name=value a line, blank lines, and comments (from a # at the start of a line or behind a
// blank); --flagfile=other.flags nests, relative to the file that names it. The command line wins over flagfiles, a
// file over those it nests, the later of two files that the same place names over the earlier one.

#include <functional>
#include <string>
#include <vector>

#include "base/error.h"

namespace cfm {

struct ProgramHelp {
  std::string name;                 // "cfm_train"
  std::string summary;              // one line: what it does
  std::string example;              // a command line that works
  std::string defined_in;           // flags of this source file are the program's: __FILE__ of its flags.cpp
  std::vector<std::string> groups;  // in the order in which help and tables show them
  std::string legend = "";          // a paragraph for --help, behind the usage: what the marks mean
  std::function<std::string(const std::string& flag)> mark = {};  // what --help puts behind a flag's text, or nothing
};

// One flag as it now stands. `group` and `help` are what stands before and behind the first ": " of its description.
struct FlagSetting {
  std::string name, value, default_value, group, help;  // a description without ": " is of group "other"
  bool is_default;
};

// Sets gflags' flags from argv (without the program's name) and its flagfiles. Throws a SharedError that lists every
// problem with file and line (or "command line"): an unknown name, a malformed value, `--name = value`, a flag set
// twice within one file or on the command line, a left-over argument, a flagfile that is missing or nests itself.
// Returns true if --help was asked for (then print help_text and exit 0).
// --noname and a bare --name are accepted for bool flags; --name value (two words) is refused with the right spelling.
bool parse_command_line(const ProgramHelp& program, const std::vector<std::string>& arguments);

// work(), with a SharedError of it told where its flags stand: a line that begins with --name=... of a flag that a
// flagfile has set gets "(configs/digits.flags:7)" at its end. `arguments` are those that were parsed.
ExitCode naming_places(const ProgramHelp& program, const std::vector<std::string>& arguments,
                       const std::function<ExitCode()>& work);

// The program's flags by group, then by name.
std::vector<FlagSetting> flag_settings(const ProgramHelp& program);

// What --help prints: summary, usage, flags by group with defaults, an example.
std::string help_text(const ProgramHelp& program);

// The settings as an aligned table by group; what differs from the default is marked with *.
std::string settings_table(const ProgramHelp& program);

}  // namespace cfm
