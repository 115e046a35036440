// agree, agree_on, run_mpi_main: how a fault of one rank becomes the end of all.

#include <c10/util/Exception.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <thread>
#include <utility>

#include "parallel/exit_file.h"
#include "parallel/failure_log.h"
#include "parallel/mpi_handle.h"
#include "parallel/mpi_session.h"

namespace cfm::parallel {
namespace {

void print_error(const std::string& message) { std::fputs(("cfm: error: " + message + "\n").c_str(), stderr); }

// "0", "0,2", "0-3,7"
std::string ranks_text(const std::vector<int>& ranks) {
  std::string text;
  for (size_t i = 0; i < ranks.size();) {
    size_t j = i;
    while (j + 1 < ranks.size() && ranks[j + 1] == ranks[j] + 1) ++j;
    text += (text.empty() ? "" : ",") + std::to_string(ranks[i]);
    if (j > i) text += (j == i + 1 ? "," : "-") + std::to_string(ranks[j]);
    i = j + 1;
  }
  return text;
}

// One line per distinct problem, in the order of the lowest rank that has it.
std::string list_problems(const std::vector<std::pair<std::string, std::vector<int>>>& ranks_by_problem,
                          const std::vector<std::string>& hosts) {
  std::string text;
  for (const auto& [problem, ranks] : ranks_by_problem) {
    if (!text.empty()) text += "\n  ";
    if (ranks.size() == hosts.size()) {
      text += problem;
    } else if (ranks.size() == 1) {
      text += rank_name(ranks[0], hosts[static_cast<size_t>(ranks[0])]) + ": " + problem;
    } else {
      text += "ranks " + ranks_text(ranks) + ": " + problem;
    }
  }
  return text;
}

void agree_over(const Communicator& over, const std::string& host, const std::optional<RankProblem>& mine) {
  if (!over.any(mine.has_value())) return;
  const std::vector<std::string> hosts = over.all_gather(host);
  const std::vector<std::string> problems =
      over.all_gather(mine ? static_cast<char>(mine->exit_code) + mine->what : std::string());
  std::vector<std::pair<std::string, std::vector<int>>> ranks_by_problem;
  int exit_code = 0;
  for (size_t r = 0; r < problems.size(); ++r) {
    if (problems[r].empty()) continue;
    exit_code = std::max(exit_code, static_cast<int>(problems[r][0]));
    const std::string what = problems[r].substr(1);
    const auto known = std::find_if(ranks_by_problem.begin(), ranks_by_problem.end(),
                                    [&](const auto& entry) { return entry.first == what; });
    auto& entry = known != ranks_by_problem.end() ? *known : ranks_by_problem.emplace_back(what, std::vector<int>());
    entry.second.push_back(static_cast<int>(r));
  }
  throw SharedError(list_problems(ranks_by_problem, hosts), static_cast<ExitCode>(exit_code));
}

// What a rank brings to the end of the job.
struct Farewell {
  int32_t exit_code;
  int32_t has_error;
};

// A launcher that ends a job at the first bad code (srun --kill-on-bad-exit) kills the ranks that are a moment slower,
// and then reports those: so rank 0 alone brings a bad code, when the others have most probably had the time to go.
ExitCode told_to_launcher(ExitCode code, bool alone, bool leads) {
  if (code == ExitCode::kDone || alone) return code;
  if (!leads) return ExitCode::kDone;
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  return code;
}

}  // namespace

void agree(const MpiSession& session, const std::optional<RankProblem>& mine) {
  agree_over(session.control(), session.host(), mine);
}

void agree_on(const MpiSession& session, const std::function<void()>& work) {
  agree_on(session, session.control(), work);
}

void agree_on(const MpiSession& session, const Communicator& over, const std::function<void()>& work) {
  std::optional<RankProblem> problem;
  try {
    work();
  } catch (const Error& error) {
    problem = {error.what(), error.exit_code()};
  } catch (const c10::Error& error) {
    problem = {error.what_without_backtrace(), ExitCode::kRetry};
  } catch (const std::exception& error) {  // a file system's, or no memory
    problem = {error.what(), ExitCode::kRetry};
  }
  agree_over(over, session.host(), problem);
}

ExitCode MpiSession::leave(ExitCode mine, const std::string& shared_error) const {
  const Farewell farewell{static_cast<int32_t>(mine), shared_error.empty() ? 0 : 1};
  std::vector<Farewell> all(static_cast<size_t>(size_));
  MPI_Request request = MPI_REQUEST_NULL;
  mpi_check(MPI_Iallgather(&farewell, 2, MPI_INT32_T, all.data(), 2, MPI_INT32_T, exit_->handle().comm, &request),
            "MPI_Iallgather");
  WaitLimits limits;
  if (farewell.has_error != 0) limits.timeout = std::chrono::seconds(5);
  if (!wait_patiently(request, limits)) abort(shared_error, mine);  // not shared after all

  const auto has_error = [](const Farewell& f) { return f.has_error != 0; };
  const auto first = std::find_if(all.begin(), all.end(), has_error);
  const bool only_errors_count = first != all.end();
  if (only_errors_count && first - all.begin() == rank_) {
    print_error(shared_error);
    if (mine != ExitCode::kRequeue) failures_->record("error", shared_error, failures_->here(), mine);
  }
  int32_t code = 0;
  for (const Farewell& f : all) {
    if (!only_errors_count || has_error(f)) code = std::max(code, f.exit_code);
  }
  if (only_errors_count) exit_soon_at_the_latest(static_cast<ExitCode>(code));
  return static_cast<ExitCode>(code);
}

int run_mpi_main(int argc, char** argv, const std::function<ExitCode(MpiSession&)>& body) {
  std::optional<MpiSession> session;
  try {
    session.emplace(&argc, &argv);
  } catch (const Error& error) {  // ranks that did not find each other: the launcher's first one speaks
    if (launched_rank() == 0) {
      print_error(error.what());
      write_exit_file(error.exit_code());
    }
    return static_cast<int>(error.exit_code());
  }
  ExitCode code = ExitCode::kDone;
  std::string shared_error;
  try {
    code = body(*session);
  } catch (const SharedError& error) {
    shared_error = error.what();
    code = error.exit_code();
  } catch (const Error& error) {
    session->abort(error.what(), error.exit_code());
  } catch (const c10::Error& error) {
    session->abort(error.what_without_backtrace(), ExitCode::kRetry);
  } catch (const std::exception& error) {
    session->abort(error.what(), ExitCode::kRetry);
  } catch (...) {
    session->abort("unknown exception", ExitCode::kRetry);
  }
  code = session->leave(code, shared_error);
  const bool alone = session->size() == 1, leads = session->rank() == 0;
  if (leads) write_exit_file(code);
  session.reset();
  return static_cast<int>(told_to_launcher(code, alone, leads));
}

int run_program(int argc, char** argv, const ProgramHelp& program, const std::function<ExitCode(MpiSession&)>& body) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  return run_mpi_main(argc, argv, [&](MpiSession& session) {
    if (parse_command_line(program, arguments)) {
      if (session.rank() == 0) std::fputs(help_text(program).c_str(), stdout);
      return ExitCode::kDone;
    }
    return naming_places(program, arguments, [&] { return body(session); });
  });
}

}  // namespace cfm::parallel
