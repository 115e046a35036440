// cfm_eval_nll when it is stopped or killed on its way, and beside a result that is there.
#include <signal.h>

#include <functional>
#include <set>
#include <thread>

#include "support/error_text.h"
#include "support/nll_program.h"
#include "support/processes.h"

namespace cfm::evaluator {
namespace {

namespace fs = std::filesystem;
using test::bytes_of;
using test::has;

class StoppedNll : public test::NllProgram {};

// The rank of a process that mpirun has started.
std::string rank_of(int process) {
  const std::string environment = bytes_of("/proc/" + std::to_string(process) + "/environ");
  const std::string name = "OMPI_COMM_WORLD_RANK=";
  const size_t at = environment.find(name) + name.size();
  return environment.substr(at, environment.find('\0', at) - at);
}

TEST_F(StoppedNll, ReportsOnWhileRank0HasDoneItsPartAndAnotherHasNot) {
  const std::vector<std::string> longer{"--count=40", "--repeats=2", "--net_batch=4", "--atol=1e-4", "--rtol=1e-4"};
  test::Running job(command("plain.safetensors", "halves", longer, 2), path("log"));
  // (image, draw) of the lines that a rank has kept.
  const auto kept_by = [](int rank) {
    std::set<std::pair<int, int>> draws;
    std::error_code error;
    for (const auto& entry : fs::recursive_directory_iterator(path("halves"), error)) {
      if (!entry.path().string().ends_with("-rank" + std::to_string(rank) + ".records")) continue;
      std::istringstream lines(bytes_of(entry.path()));
      for (std::string line; std::getline(lines, line);) {
        std::istringstream words(line);
        std::pair<int, int> draw;
        words >> draw.first >> draw.second;
        draws.insert(draw);
      }
    }
    return draws;
  };
  const auto wait_until = [&](const std::function<bool()>& what) {
    while (!job.ended() && !what()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    ASSERT_FALSE(job.ended()) << bytes_of(path("log"));
  };
  wait_until([&] { return !kept_by(1).empty(); });
  for (const int process : test::ranks_below(job.pid(), "cfm_eval_nll"))
    if (rank_of(process) == "1") kill(process, SIGSTOP);
  wait_until([&] { return kept_by(0).size() == 40; });  // half of the 80 draws: its part
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  const size_t said = bytes_of(path("log")).size();
  std::set<std::pair<int, int>> kept = kept_by(0);
  kept.merge(kept_by(1));
  int64_t images = 0;
  for (int image = 0; image < 40; ++image) images += kept.contains({image, 0}) && kept.contains({image, 1}) ? 1 : 0;
  const std::string line = "likelihood   " + std::to_string(images) + "/40 images  ";
  wait_until([&] { return bytes_of(path("log")).find(line, said) != std::string::npos; });
  for (const int process : test::ranks_below(job.pid(), "cfm_eval_nll")) kill(process, SIGCONT);
  const test::Finished finished = job.wait();
  EXPECT_EQ(finished.exit_code, 0) << finished.output;
}

TEST_F(StoppedNll, ContinuesAfterAKillOnAnyNumberOfRanksBitForBit) {
  for (const std::string control : {"sample", "batch"}) {
    SCOPED_TRACE(control);
    const std::string killed = "killed_" + control;
    const std::vector<std::string> longer{"--count=40", "--repeats=2", "--atol=1e-4", "--rtol=1e-4",
                                          "--step_control=" + control};
    const std::string whole = evaluated("plain.safetensors", "whole_" + control, longer, 2);
    {
      test::Running job(command("plain.safetensors", killed, longer, 2), path("log"));
      wait_for_lines(job, killed, 10);
      kill(-job.pid(), SIGKILL);
      EXPECT_EQ(job.wait().exit_code, 128 + SIGKILL);
    }
    std::this_thread::sleep_for(std::chrono::seconds(1));  // mpirun's ranks are not in its process group
    const fs::path parts = only(killed, ".parts");
    std::vector<fs::path> files;
    for (const auto& entry : fs::directory_iterator(parts)) {
      if (entry.path().extension() == ".records" && fs::file_size(entry.path()) > 0) files.push_back(entry.path());
    }
    ASSERT_FALSE(files.empty());
    fs::resize_file(files[0], fs::file_size(files[0]) - 3);  // a torn line: of a batch a draw is missing
    const test::Finished finished = run("plain.safetensors", killed, longer, 3);
    ASSERT_EQ(finished.exit_code, 0) << finished.output;
    EXPECT_TRUE(has(finished.output, {"resumed", "torn or damaged"}));
    EXPECT_EQ(table(killed), whole);
    EXPECT_FALSE(fs::exists(parts));
  }
}

TEST_F(StoppedNll, StopsOnASignalWithWhatItHasAndAsksForRequeueing) {
  for (const int number : {SIGUSR1, SIGTERM}) {
    const std::string results = "stopped" + std::to_string(number);
    const std::vector<std::string> longer{"--count=40", "--repeats=2", "--net_batch=4", "--atol=1e-4", "--rtol=1e-4"};
    test::Running job(command("plain.safetensors", results, longer, number == SIGUSR1 ? 2 : 0), path("log"));
    wait_for_lines(job, results, 3);
    kill(job.pid(), number);
    const test::Finished finished = job.wait();
    EXPECT_EQ(finished.exit_code, 75) << finished.output;
    EXPECT_TRUE(has(finished.output, {"stopped", "the same command continues"}));
    EXPECT_TRUE(fs::is_directory(only(results, ".parts")));
    const std::string table_after = evaluated("plain.safetensors", results, longer, 2);
    EXPECT_EQ(std::count(table_after.begin(), table_after.end(), '\n'), 41);
  }
}

TEST_F(StoppedNll, StopsAmidTheCheckOfItsGridAndKeepsWhatItHasOfIt) {
  const std::vector<std::string> grid{"--solver=euler", "--steps=24", "--check_images=20", "--count=20",
                                      "--net_batch=2"};
  const std::string whole = evaluated("plain.safetensors", "checked", grid, 2);
  test::Running job(command("plain.safetensors", "check_stopped", grid, 2), path("log"));
  wait_for_lines(job, "check_stopped", 20 + 2);
  kill(job.pid(), SIGUSR1);
  const test::Finished stopped = job.wait();
  EXPECT_EQ(stopped.exit_code, 75) << stopped.output;
  EXPECT_TRUE(has(stopped.output, {"stopped", "of 20 draws of the check are kept; the same command continues"}));
  const test::Finished finished = run("plain.safetensors", "check_stopped", grid, 3);
  ASSERT_EQ(finished.exit_code, 0) << finished.output;
  EXPECT_TRUE(has(finished.output, {"resumed      20 of 20 draws of the likelihood", "of 20 draws of the check"}));
  EXPECT_EQ(table("check_stopped"), whole);
  EXPECT_EQ(result("check_stopped").at("convergence"), result("checked").at("convergence"));
  EXPECT_EQ(std::distance(fs::directory_iterator(path("check_stopped")), {}), 2) << "what was kept is left";
}

TEST_F(StoppedNll, LeavesAResultThatIsThereAndPutsAnotherBesideIt) {
  const std::string first = evaluated("plain.safetensors", "twice", {"--count=4"});
  const test::Finished again = run("plain.safetensors", "twice", {"--count=4"}, 2);
  EXPECT_EQ(again.exit_code, 0);
  EXPECT_TRUE(has(again.output, {"the result is there already"}));
  EXPECT_EQ(table("twice"), first);
  EXPECT_EQ(run("plain.safetensors", "twice", {"--count=4", "--seed=1"}).exit_code, 0);
  EXPECT_EQ(run("plain.safetensors", "twice", {"--count=4", "--tag=mine"}).exit_code, 0);
  EXPECT_EQ(std::distance(fs::directory_iterator(path("twice")), {}), 6);
  const test::Finished other = run("plain.safetensors", "twice", {"--count=5", "--tag=mine"});
  EXPECT_EQ(other.exit_code, 2);
  EXPECT_TRUE(has(other.output, {"--tag", "images: there 4, here 5"}));
}

}  // namespace
}  // namespace cfm::evaluator
