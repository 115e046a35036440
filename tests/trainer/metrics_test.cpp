// A real Prometheus watches a real training job.

#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <regex>
#include <sstream>

#include "metrics/catalogue.h"
#include "support/file_bytes.h"
#include "support/prometheus.h"
#include "support/subprocess.h"
#include "support/training_run.h"

namespace cfm::test {
namespace {

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at))
    text.replace(at, from.size(), to);
  return text;
}

// "title: expression" of every query of every panel and annotation of the committed dashboards, for the run `run`.
std::map<std::string, std::string> dashboard_queries() {
  std::map<std::string, std::string> queries;
  for (const auto& entry : std::filesystem::directory_iterator(CFM_SOURCE_DIR "/metrics/grafana/dashboards")) {
    const nlohmann::json board = nlohmann::json::parse(bytes_of(entry.path()));
    const auto add = [&](const std::string& title, const std::string& expression) {
      queries[entry.path().stem().string() + ", " + title + ": " + expression] =
          replaced(replaced(expression, "$run", "run"), "$node", ".*");
    };
    for (const nlohmann::json& panel : board.at("panels"))
      for (const nlohmann::json& target : panel.value("targets", nlohmann::json::array()))
        add(panel.at("title"), target.at("expr"));
    for (const nlohmann::json& one : board.at("annotations").value("list", nlohmann::json::array()))
      add(one.at("name"), one.at("expr"));
  }
  return queries;
}

class WatchedRun : public testing::Test {
 protected:
  std::vector<std::string> command(const std::vector<std::string>& more = {}, int ranks = 2) const {
    return mpirun(ranks) +
           with_flags(small_run(data_, run_),
                      std::vector<std::string>{"--steps=1000000", "--log_every=1", "--checkpoint_every=20",
                                               "--val_data=" + val_, "--val_every=20", "--val_images=20",
                                               "--metrics_targets=" + targets_.string()} +
                          more);
  }
  std::string address() const {
    for (const auto& entry : std::filesystem::directory_iterator(run_))
      if (entry.path().extension() == ".address") return bytes_of(entry.path());
    return "";
  }
  int port() const { return std::stoi(address().substr(address().rfind(':') + 1)); }
  static void put_bytes_into(const std::filesystem::path& file, const std::string& bytes) {
    std::filesystem::create_directories(file.parent_path());
    put_bytes(file, bytes);
  }
  static void wait_for_exit_code(Running& job, int code) {
    const Finished finished = job.wait();
    EXPECT_EQ(finished.exit_code, code) << finished.output;
  }

  TemporaryFolder folder_;
  std::string data_ = digit_shards(folder_.path(), "train", 0, 64), val_ = digit_shards(folder_.path(), "val", 64, 20);
  std::filesystem::path run_ = folder_.path() / "run", targets_ = folder_.path() / "targets";
};

TEST_F(WatchedRun, IsFoundScrapedAndStaysTrueOverAKillAndARestart) {
  const Prometheus prometheus(folder_.path() / "prometheus", targets_);
  {
    Running job(command(), folder_.path() / "log");
    ASSERT_TRUE(Prometheus::wait_for([&] { return prometheus.value("cfm_checkpoints_total") >= 2; }));
    for (const metrics::SeriesInfo& series : metrics::kCatalogue)
      if (!series.name.starts_with("cfm_result") && series.scope != metrics::Scope::kEvaluation &&
          series.name != "cfm_gpu_memory_bytes") {  // nobody evaluates
        EXPECT_FALSE(prometheus.ask(std::string(series.name) + "{run=\"run\"}").empty()) << series.name;
      }
    EXPECT_EQ(prometheus.value("cfm_node_ranks"), 2);
    EXPECT_EQ(prometheus.value("cfm_attempt"), 1);
    // Long enough for what Prometheus does not see, before its first look and behind its last, to be little.
    ASSERT_TRUE(Prometheus::wait_for([&] { return prometheus.value("count_over_time(cfm_steps_total[5m])") >= 8; }));
    EXPECT_GT(prometheus.value("rate(cfm_steps_total[1m])"), 0);
    // The phases are the whole step, but for what lies between them.
    EXPECT_NEAR(prometheus.value("sum(cfm_phase_seconds_total) / sum(cfm_steps_total)") /
                    prometheus.value("avg_over_time(cfm_step_seconds[1m])"),
                1, 0.5);
    kill(-job.pid(), SIGKILL);
    job.wait();
  }
  Running job(command(), folder_.path() / "log2");
  ASSERT_TRUE(Prometheus::wait_for([&] { return prometheus.value("max(cfm_attempt)") == 2; }));
  ASSERT_TRUE(Prometheus::wait_for(
      [&] { return prometheus.value("count_over_time(cfm_steps_total[5m]) and on(instance) cfm_attempt == 2") >= 8; }));
  for (const auto& [name, query] : dashboard_queries()) {
    if (query.find("> 1") == std::string::npos) continue;  // requeues
    EXPECT_FALSE(prometheus.ask(query).empty()) << name;
  }
  const std::vector<nlohmann::json> rewinds = events(run_, "rewind_to");
  ASSERT_EQ(rewinds.size(), 1U);
  const long from = rewinds[0].at("step");
  long made = 0;  // by the first start, whose ranks outlived mpirun a little
  for (const nlohmann::json& step : events(run_, "step"))
    if (step.at("attempt") == 1) made = std::max(made, step.at("step").get<long>());
  EXPECT_EQ(prometheus.value("cfm_lost_steps and on(instance) cfm_attempt == 2"), made - from);
  // Steps that both processes made, as Prometheus saw it grow: never the position in the run, which went back.
  const double seen = prometheus.value("sum(increase(cfm_steps_total[5m]))");
  const double true_steps = static_cast<double>(made + losses(run_).rbegin()->first - from);
  EXPECT_LT(seen, 1.3 * true_steps);
  EXPECT_GT(seen, 0.3 * true_steps);
  kill(job.pid(), SIGUSR1);
  wait_for_exit_code(job, 75);
  EXPECT_TRUE(std::filesystem::is_empty(targets_)) << "the target outlived its job";
  EXPECT_EQ(address(), "");
}

// Results as evaluators leave them, of the run's own folder.
TEST_F(WatchedRun, HasDataForEveryPanelOfEveryDashboardAndEveryRule) {
  put_bytes_into(run_ / "results/nll-step_000000020-a1.json",
                 R"({"metric": "nll", "bits_per_dim": 2.5, "nfe": {"mean": 80}})");
  put_bytes_into(run_ / "results/fid-step_000000020-b2.json",
                 R"({"metric": "fid", "fid": {"mean": 4.5}, "repeats": [{"nfe": 40}]})");
  put_bytes_into(run_ / "results/fid-step_000000020-c3.json", "torn");
  const Prometheus prometheus(folder_.path() / "prometheus", targets_);
  Running job(command(), folder_.path() / "log");
  ASSERT_TRUE(Prometheus::wait_for([&] { return prometheus.value("cfm_checkpoints_total") >= 1; }));
  const std::map<std::string, std::string> queries = dashboard_queries();
  EXPECT_GT(queries.size(), 30U);
  for (const auto& [name, query] : queries) {
    const bool of_none = query.find("cfm_evaluation_") != std::string::npos ||
                         query.find("cfm_gpu_") != std::string::npos || query.find("> 1") != std::string::npos;
    if (of_none) continue;  // no evaluator, no GPU, no second start
    EXPECT_TRUE(Prometheus::wait_for([&] { return !prometheus.ask(query).empty(); })) << name;
  }
  EXPECT_EQ(prometheus.value("cfm_result{metric='nll_bits_per_dim',step='20',tag='a1'}"), 2.5);
  EXPECT_EQ(prometheus.value("cfm_result{metric='fid',step='20',tag='b2'}"), 4.5);
  // Every series that a rule names, and every rule that records, is there.
  for (const char* file : {"recording.yml", "alerts.yml"}) {
    std::istringstream lines(bytes_of(std::string(CFM_SOURCE_DIR "/metrics/prometheus/") + file));
    std::string rules;
    for (std::string line; std::getline(lines, line);)
      if (line.find(" expr: ") != std::string::npos || line.find(" record: ") != std::string::npos)
        rules += line + "\n";
    const std::regex word(R"((run:)?cfm_\w+(:\w+)?)");
    for (std::sregex_iterator one(rules.begin(), rules.end(), word), end; one != end; ++one) {
      const std::string name = one->str();
      const bool recorded = name.starts_with("run:");
      EXPECT_TRUE(recorded ? Prometheus::wait_for([&] { return !prometheus.ask(name).empty(); })
                           : metrics::find_series(name) != nullptr)
          << file << " names " << name;
    }
  }
  kill(job.pid(), SIGUSR1);
  wait_for_exit_code(job, 75);
}

// In a real browser: what its scripts have made of the page after a few seconds, twice.
TEST_F(WatchedRun, ShowsItsStepMovingOnAPageOfItsOwn) {
  Running job(command({"--sample_every=20"}), folder_.path() / "log");
  ASSERT_TRUE(Prometheus::wait_for([&] { return !events(run_, "samples").empty(); }));
  const auto seen_step = [&] {
    const CommandResult page = run_command(
        "chromium --headless --no-sandbox --disable-gpu --user-data-dir=" + (folder_.path() / "chromium").string() +
        " --virtual-time-budget=4000 --dump-dom http://127.0.0.1:" + std::to_string(port()) + "/ 2>/dev/null");
    EXPECT_EQ(page.exit_code, 0) << page.output;
    std::smatch found;
    const std::regex step(R"(id="step">([0-9,]+) of 1,000,000<)");
    EXPECT_TRUE(std::regex_search(page.output, found, step)) << page.output;
    EXPECT_TRUE(std::regex_search(page.output, std::regex("<path d=\"M0.0 "))) << "no loss curve";
    EXPECT_NE(page.output.find("samples.png?step_"), std::string::npos) << "no samples";
    EXPECT_NE(page.output.find("<span>backward</span>"), std::string::npos) << "no phases";
    return found.empty() ? 0 : std::stol(replaced(found[1], ",", ""));
  };
  const long first = seen_step(), second = seen_step();
  EXPECT_GT(first, 0);
  EXPECT_GT(second, first);
  EXPECT_TRUE(body_of(http_get(port(), "/samples.png")).starts_with("\x89PNG"));
  kill(job.pid(), SIGUSR1);
  wait_for_exit_code(job, 75);
}

TEST_F(WatchedRun, KeepsATextFileWhereScrapingIsBarred) {
  const std::filesystem::path file = folder_.path() / "cfm.prom";
  const Finished finished =
      run(command({"--metrics=", "--metrics_textfile=" + file.string(), "--steps=21"}), folder_.path() / "log");
  ASSERT_EQ(finished.exit_code, 0) << finished.output;
  EXPECT_NE(bytes_of(file).find("\ncfm_step{run=\"run\"} 21\n"), std::string::npos) << bytes_of(file);
  EXPECT_EQ(address(), "");
  const CommandResult lint = run_command("promtool check metrics < " + file.string());
  EXPECT_EQ(lint.exit_code, 0) << lint.output;
}

TEST_F(WatchedRun, TellsTheLossByTimeTheSameOnAnyNumberOfRanks) {
  std::map<int, std::vector<double>> by_ranks;
  for (const int ranks : {1, 2, 3}) {
    const std::filesystem::path file = folder_.path() / ("by_time" + std::to_string(ranks) + ".prom");
    const Finished finished =
        run(command({"--metrics=", "--metrics_textfile=" + file.string(), "--steps=6", "--log_every=3", "--val_every=0",
                     "--run_dir=" + (folder_.path() / std::to_string(ranks)).string()},
                    ranks),
            folder_.path() / "log");
    ASSERT_EQ(finished.exit_code, 0) << finished.output;
    const std::string text = bytes_of(file);
    for (int bin = 0; bin < 10; ++bin) {
      const std::string line = ",bin=\"" + std::to_string(bin) + "\"} ";
      const std::string name = "\ncfm_loss_by_time{run=\"" + std::to_string(ranks) + "\"" + line;
      ASSERT_NE(text.find(name), std::string::npos) << name << text;
      by_ranks[ranks].push_back(std::stod(text.substr(text.find(name) + name.size())));
    }
  }
  for (size_t bin = 0; bin < 10; ++bin) {
    EXPECT_GT(by_ranks[1][bin], 0);
    EXPECT_NEAR(by_ranks[2][bin] / by_ranks[1][bin], 1, 1e-4) << bin;
    EXPECT_NEAR(by_ranks[3][bin] / by_ranks[1][bin], 1, 1e-4) << bin;
  }
}

TEST_F(WatchedRun, TrainsWithoutMetricsIfItsPortIsTaken) {
  Running first(command({}, 0), folder_.path() / "log");
  ASSERT_TRUE(Prometheus::wait_for([&] { return std::filesystem::exists(run_) && !address().empty(); }));
  const std::vector<std::string> same{"--metrics=127.0.0.1:" + std::to_string(port()), "--steps=4",
                                      "--run_dir=" + (folder_.path() / "other").string()};
  const Finished second = run(with_flags(command({}, 0), same), folder_.path() / "log2");
  EXPECT_EQ(second.exit_code, 0) << second.output;
  EXPECT_NE(second.output.find("no metrics endpoint: cannot listen on"), std::string::npos) << second.output;
}

TEST_F(WatchedRun, GoesOnUnderMaliciousClients) {
  Running job(command({}, 2), folder_.path() / "log");
  ASSERT_TRUE(Prometheus::wait_for([&] { return std::filesystem::exists(run_) && !losses(run_).empty(); }));
  const int at = port();
  std::vector<std::unique_ptr<Connection>> idle;
  for (int i = 0; i < 50; ++i) {
    idle.push_back(std::make_unique<Connection>(at));
    idle.back()->send(i % 2 == 0 ? std::string(100'000, 'A') : "GET /met");
  }
  const long before = losses(run_).rbegin()->first;
  EXPECT_TRUE(Prometheus::wait_for([&] { return losses(run_).rbegin()->first > before + 20; }));
  EXPECT_NE(http_get(at, "/metrics").find("\ncfm_step{"), std::string::npos);
  kill(job.pid(), SIGUSR1);
  wait_for_exit_code(job, 75);
}

TEST_F(WatchedRun, RefusesAnAddressWithoutAPort) {
  const Finished finished = run(command({"--metrics=localhost", "--metrics_textfile=x"}, 0), folder_.path() / "log");
  EXPECT_EQ(finished.exit_code, 2);
  EXPECT_NE(finished.output.find("--metrics=localhost: expected an address and a port"), std::string::npos);
  EXPECT_NE(finished.output.find("--metrics_textfile=x: expected a name that ends in .prom"), std::string::npos);
}

}  // namespace
}  // namespace cfm::test
