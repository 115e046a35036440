#include "keeper/commands.h"

#include <algorithm>
#include <ctime>

#include "base/command_line.h"
#include "base/log.h"
#include "keeper/flags.h"
#include "keeper/list.h"
#include "keeper/verify.h"

namespace cfm::keeper {
namespace {

using Paths = std::vector<std::filesystem::path>;

ExitCode list(const Paths&) {
  const RunChoice run = run_from_flags();
  std::string text = list_text(run.run_dir, contents_of(run.run_dir), std::time(nullptr));
  text.pop_back();
  say(text);
  return ExitCode::kDone;
}

ExitCode verify(const Paths& paths) {
  if (!paths.empty()) return verify_paths(paths);
  const RunChoice run = run_from_flags();
  return verify_run(run.run_dir, run.step);
}

ExitCode import_one(const Paths&) {
  import_weights(import_from_flags());
  return ExitCode::kDone;
}

ExitCode export_one(const Paths&) {
  export_checkpoint(export_from_flags());
  return ExitCode::kDone;
}

struct Command {
  std::string name;
  ExitCode (*work)(const Paths& paths);
  std::vector<std::string> flags;  // by name, or by group
  bool takes_paths = false;
};

const std::vector<Command>& commands() {
  static const std::vector<Command> all{{"list", list, {"run_dir"}},
                                        {"verify", verify, {"run"}, true},
                                        {"import", import_one, {"import", "flow", "network", "out", "step"}},
                                        {"export", export_one, {"run", "out"}}};
  return all;
}

}  // namespace

const std::string& command_names() {
  static const std::string all = [] {
    std::string names;
    for (const Command& command : commands()) names += (names.empty() ? "" : "|") + command.name;
    return names;
  }();
  return all;
}

ExitCode run_command(const std::string& name, const std::vector<std::string>& arguments) {
  const auto command = std::ranges::find(commands(), name, &Command::name);
  if (command == commands().end())
    throw SharedError("there is no command '" + name + "'. Usage: cfm_checkpoint " + command_names() +
                      " --name=value ...; cfm_checkpoint --help tells more");
  const auto first_flag =
      std::ranges::find_if(arguments, [](const std::string& word) { return word.starts_with("-"); });
  const Paths paths(arguments.begin(), first_flag);
  const std::vector<std::string> flags(first_flag, arguments.end());
  ProgramHelp program = program_help();
  program.name = "cfm_checkpoint " + name;
  parse_command_line(program, flags);
  return naming_places(program, flags, [&] {
    Problems problems = flags_of_others(name, paths.empty() ? command->flags : std::vector<std::string>{});
    if (!paths.empty() && !command->takes_paths)
      problems.push_back("left-over argument '" + paths.front().string() + "': cfm_checkpoint " + name +
                         " takes flags only, each as --name=value");
    check_no_problems(problems);
    return command->work(paths);
  });
}

}  // namespace cfm::keeper
