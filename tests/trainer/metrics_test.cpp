// A real Prometheus watches a real training job.

#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <regex>
#include <thread>

#include "metrics/catalogue.h"
#include "support/browser.h"
#include "support/dashboards.h"
#include "support/file_bytes.h"
#include "support/processes.h"
#include "support/prometheus.h"
#include "support/subprocess.h"
#include "support/training_run.h"

namespace cfm::test {
namespace {

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
  int count_of_targets() const {
    int count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(targets_))
      count += entry.path().extension() == ".json" ? 1 : 0;
    return count;
  }
  long last_step() const { return losses(run_).rbegin()->first; }
  int port() const { return std::stoi(address().substr(address().rfind(':') + 1)); }
  static void put_bytes_into(const std::filesystem::path& file, const std::string& bytes) {
    std::filesystem::create_directories(file.parent_path());
    put_bytes(file, bytes);
  }
  static void wait_for_exit_code(Running& job, int code) {
    const Finished finished = job.wait();
    EXPECT_EQ(finished.exit_code, code) << finished.output;
  }

  // But for what lies between them: by one scrape, and by the lines of the steps that it had counted.
  void expect_phases_of_whole_steps() const {
    const std::string text = test::http_get(port(), "/metrics");
    const std::regex phase(R"re(cfm_phase_seconds_total\{[^}]*phase="(\w+)"[^}]*\} (\S+))re"),
        count(R"(cfm_steps_total\{.*\} (\d+))");
    double phases = 0;
    for (std::sregex_iterator one(text.begin(), text.end(), phase), end; one != end; ++one)
      if ((*one)[1] != "checkpoint") phases += std::stod((*one)[2]);
    std::smatch steps;
    ASSERT_TRUE(std::regex_search(text, steps, count)) << text;
    double seconds = 0;
    for (const nlohmann::json& step : events(run_, "step"))
      if (step.at("step") <= std::stol(steps[1])) seconds += step.at("step_seconds").get<double>();
    EXPECT_GT(phases, 0.8 * seconds);
    EXPECT_LT(phases, 1.02 * seconds);
  }

  TemporaryFolder folder_;
  std::string data_ = digit_shards(folder_.path(), "train", 0, 64), val_ = digit_shards(folder_.path(), "val", 64, 20);
  std::filesystem::path run_ = folder_.path() / "run", targets_ = folder_.path() / "targets";
};

TEST_F(WatchedRun, IsFoundScrapedAndStaysTrueOverAKillAndARestart) {
  const Prometheus prometheus(folder_.path() / "prometheus", targets_);
  // One address for both starts: to Prometheus they are one series, whose counters begin anew.
  const std::vector<std::string> start = command({"--metrics=127.0.0.1:" + std::to_string(free_port())});
  {
    Running job(start, folder_.path() / "log");
    ASSERT_TRUE(Prometheus::wait_for([&] { return prometheus.value("cfm_checkpoints_total") >= 2; }));
    for (const metrics::SeriesInfo& series : metrics::kCatalogue)
      if (!series.name.starts_with("cfm_result") && series.scope != metrics::Scope::kEvaluation &&
          series.name != "cfm_gpu_memory_bytes") {  // nobody evaluates
        EXPECT_FALSE(prometheus.ask(std::string(series.name) + "{run=\"run\"}").empty()) << series.name;
      }
    EXPECT_EQ(prometheus.value("cfm_node_ranks"), 2);
    EXPECT_EQ(prometheus.value("cfm_attempt"), 1);
    // Long enough for what Prometheus does not see, before its first look and behind its last, to be little.
    ASSERT_TRUE(Prometheus::wait_for([&] { return prometheus.value("count_over_time(cfm_steps_total[30m])") >= 15; }));
    EXPECT_GT(prometheus.value("rate(cfm_steps_total[1m])"), 0);
    expect_phases_of_whole_steps();
    // mpirun would let them live a while.
    for (const int rank : ranks_below(job.pid(), "cfm_train")) kill(rank, SIGKILL);
    kill(-job.pid(), SIGKILL);
    job.wait();
  }
  Running job(with_flags(start, {"--checkpoint_every=0"}), folder_.path() / "log2");
  ASSERT_TRUE(Prometheus::wait_for([&] { return prometheus.value("max(cfm_attempt)") == 2; }));
  ASSERT_TRUE(Prometheus::wait_for(
      [&] { return prometheus.value("count_over_time((cfm_steps_total and cfm_attempt == 2)[30m:1s])") >= 15; }));
  for (const auto& [name, query] : dashboard_queries("run")) {
    if (query.find("> 1") == std::string::npos) continue;  // requeues
    EXPECT_FALSE(prometheus.ask(query).empty()) << name;
  }
  const std::vector<nlohmann::json> rewinds = events(run_, "rewind_to");
  ASSERT_EQ(rewinds.size(), 1U);
  const long from = rewinds[0].at("step");
  long made = 0;  // by the first start
  for (const char* event : {"step", "validation", "checkpoint"}) {
    for (const nlohmann::json& one : events(run_, event))
      if (one.at("attempt") == 1) made = std::max(made, one.at("step").get<long>());
  }
  EXPECT_EQ(prometheus.value("cfm_lost_steps and on(instance) cfm_attempt == 2"), made - from);
  // What a checkpoint takes is known before this process has written one.
  char name[32];
  std::snprintf(name, sizeof name, "step_%09ld", from);
  uintmax_t bytes = 0;
  for (const auto& entry : std::filesystem::directory_iterator(run_ / "checkpoints" / name)) bytes += entry.file_size();
  EXPECT_EQ(prometheus.value("cfm_checkpoint_bytes"), static_cast<double>(bytes));
  EXPECT_EQ(prometheus.value("cfm_checkpoints_total"), 0);
  // The counter is what this process made, not the position in the run, which it set before it counted the step.
  const double ahead = prometheus.value("cfm_step - cfm_steps_total");
  EXPECT_GE(ahead, from);
  EXPECT_LE(ahead, from + 1);
  // Steps that both processes made, as Prometheus saw them grow: none that were not made, and all but those before its
  // first look at the first process and behind its last one.
  const double seen = prometheus.value("sum(increase(cfm_steps_total[30m]))");
  const double steps = static_cast<double>(made - from) + prometheus.value("cfm_step");
  EXPECT_GT(seen / steps, 0.7) << seen << " of " << steps;
  EXPECT_LT(seen / steps, 1.05) << seen << " of " << steps;
  kill(job.pid(), SIGUSR1);
  wait_for_exit_code(job, 75);
  EXPECT_EQ(count_of_targets(), 0) << "the target outlived its job";
  EXPECT_EQ(address(), "");
}

// Results as evaluators leave them, of the run's own folder.
TEST_F(WatchedRun, HasDataForEveryPanelOfEveryDashboardAndEveryRule) {
  put_bytes_into(run_ / "results/nll-step_000000020-a1.json",
                 R"({"metric": "nll", "bits_per_dim": 2.5, "nfe": {"mean": 80}})");
  put_bytes_into(run_ / "results/fid-step_000000020-b2.json",
                 R"({"metric": "fid", "fid": {"mean": 4.5}, "sfid": {"mean": 9}, "is_10_splits": {"mean": 8},
                     "is_splits_of_5000": {"mean": 8}, "kid": {"mean": 0.01}, "precision": {"mean": 0.6},
                     "recall": {"mean": 0.5}, "repeats": [{"nfe": 40}]})");
  put_bytes_into(run_ / "results/fid-step_000000020-c3.json", "torn");
  const Prometheus prometheus(folder_.path() / "prometheus", targets_);
  Running job(command(), folder_.path() / "log");
  ASSERT_TRUE(Prometheus::wait_for([&] { return prometheus.value("cfm_checkpoints_total") >= 1; }));
  const std::map<std::string, std::string> queries = dashboard_queries("run");
  EXPECT_GT(queries.size(), 30U);
  for (const auto& [name, query] : queries) {
    const bool of_none = query.find("cfm_evaluation_") != std::string::npos ||
                         query.find("cfm_gpu_") != std::string::npos || query.find("> 1") != std::string::npos;
    if (of_none) continue;  // no evaluator, no GPU, no second start
    EXPECT_TRUE(Prometheus::wait_for([&] { return !prometheus.ask(query).empty(); })) << name;
  }
  EXPECT_EQ(prometheus.value("cfm_result{metric='nll_bits_per_dim',step='20',tag='a1'}"), 2.5);
  EXPECT_EQ(prometheus.value("cfm_result{metric='fid',step='20',tag='b2'}"), 4.5);
  // Every series that a rule asks for, and every rule that records, is there.
  const std::vector<nlohmann::json> rules = prometheus.rules();
  EXPECT_GE(rules.size(), 15U);
  for (const nlohmann::json& rule : rules) {
    const std::string asked = rule.at("query"), title = rule.at("name");
    const std::string text = rule.at("type") == "recording" ? title + " " + asked : asked;
    const std::regex word(R"((\w+:)?cfm_\w+(:\w+)?)");
    for (std::sregex_iterator one(text.begin(), text.end(), word), end; one != end; ++one) {
      const std::string name = one->str();
      EXPECT_TRUE(Prometheus::wait_for([&] { return !prometheus.ask(name).empty(); })) << title << " names " << name;
    }
  }
  kill(job.pid(), SIGUSR1);
  wait_for_exit_code(job, 75);
}

// In a real browser, in which the page is opened once: what its scripts make of it goes on.
TEST_F(WatchedRun, ShowsItsStepMovingOnAPageOfItsOwn) {
  Running job(command({"--sample_every=20"}), folder_.path() / "log");
  ASSERT_TRUE(Prometheus::wait_for([&] { return !events(run_, "samples").empty(); }));
  Browser browser(folder_.path() / "chromium", "http://127.0.0.1:" + std::to_string(port()) + "/");
  const auto shown_step = [&] {
    const std::string text = browser.value("document.getElementById('step')?.textContent ?? ''");
    std::smatch found;
    return std::regex_match(text, found, std::regex("([0-9,]+) of 1,000,000")) ? std::stol(replaced(found[1], ",", ""))
                                                                               : -1;
  };
  ASSERT_TRUE(Prometheus::wait_for([&] { return shown_step() > 0; }));
  const nlohmann::json loaded = browser.value("performance.timeOrigin");
  for (int again = 0; again < 2; ++again) {
    const long before = shown_step();
    EXPECT_TRUE(Prometheus::wait_for([&] { return shown_step() > before; }));
  }
  const std::string page = browser.value("document.documentElement.outerHTML");
  EXPECT_TRUE(std::regex_search(page, std::regex("<path d=\"M0.0 "))) << "no loss curve" << page;
  EXPECT_NE(page.find("samples.png?step_"), std::string::npos) << "no samples" << page;
  EXPECT_NE(page.find("<span>backward</span>"), std::string::npos) << "no phases" << page;
  EXPECT_EQ(browser.value("document.getElementById('samples').naturalWidth > 0"), true) << "the samples are no picture";
  EXPECT_EQ(browser.value("document.getElementById('lost').hidden"), true);
  EXPECT_TRUE(body_of(http_get(port(), "/samples.png")).starts_with("\x89PNG"));
  kill(job.pid(), SIGUSR1);
  wait_for_exit_code(job, 75);
  EXPECT_TRUE(Prometheus::wait_for([&] { return browser.value("!document.getElementById('lost').hidden") == true; }))
      << "the page does not say that the run has ended";
  EXPECT_EQ(browser.value("performance.timeOrigin"), loaded) << "the page was loaded anew";
}

TEST_F(WatchedRun, KeepsATextFileWhereScrapingIsBarred) {
  const std::filesystem::path file = folder_.path() / "cfm.prom";
  Running job(command({"--metrics=", "--metrics_textfile=" + file.string()}), folder_.path() / "log");
  ASSERT_TRUE(Prometheus::wait_for([&] {
    return std::filesystem::exists(file) && bytes_of(file).find("\ncfm_steps_total{run=\"run\"} ") != std::string::npos;
  }));
  EXPECT_NE(bytes_of(file).find("\ncfm_node_time_seconds{run=\"run\",node="), std::string::npos) << bytes_of(file);
  EXPECT_EQ(address(), "");
  const CommandResult lint = run_command("promtool check metrics < " + file.string());
  EXPECT_EQ(lint.exit_code, 0) << lint.output;
  ASSERT_TRUE(Prometheus::wait_for([&] { return !losses(run_).empty(); }));
  kill(job.pid(), SIGUSR1);
  wait_for_exit_code(job, 75);
  EXPECT_FALSE(std::filesystem::exists(file)) << "the text outlived its job";
}

// Held up in the save at the end, when step 7 has been told: the last losses by time are of steps 4 to 6.
TEST_F(WatchedRun, TellsTheLossByTimeTheSameOnAnyNumberOfRanks) {
  std::map<int, std::vector<double>> by_ranks;
  for (const int ranks : {1, 2, 3}) {
    const std::string name = std::to_string(ranks);
    run_ = folder_.path() / name;
    const std::filesystem::path go_on = folder_.path() / (name + ".go_on");
    Running job(std::vector<std::string>{"env", "CFM_FAIL_AT=rename:step_:1:" + go_on.string()} +
                    command({"--steps=8", "--log_every=3", "--val_every=0"}, ranks),
                folder_.path() / "log");
    ASSERT_TRUE(Prometheus::wait_for([&] { return std::filesystem::exists(run_) && !address().empty(); }));
    std::string text;
    ASSERT_TRUE(Prometheus::wait_for([&] {
      text = http_get(port(), "/metrics");
      return text.find("\ncfm_step{run=\"" + name + "\"} 7\n") != std::string::npos;
    }));
    put_bytes(go_on, "");
    wait_for_exit_code(job, 0);
    for (int bin = 0; bin < 10; ++bin) {
      const std::string line = "\ncfm_loss_by_time{run=\"" + name + "\",bin=\"" + std::to_string(bin) + "\"} ";
      ASSERT_NE(text.find(line), std::string::npos) << line << text;
      by_ranks[ranks].push_back(std::stod(text.substr(text.find(line) + line.size())));
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

TEST_F(WatchedRun, AnswersFiftyScrapesAtOnceWhileItTrains) {
  Running job(command(), folder_.path() / "log");
  ASSERT_TRUE(Prometheus::wait_for([&] { return std::filesystem::exists(run_) && !losses(run_).empty(); }));
  const int at = port();
  const long before = last_step();
  std::vector<std::string> answers(50);
  std::vector<std::thread> clients;
  for (std::string& answer : answers) clients.emplace_back([&answer, at] { answer = http_get(at, "/metrics"); });
  for (std::thread& client : clients) client.join();
  for (const std::string& answer : answers) {
    std::smatch length;
    ASSERT_TRUE(std::regex_search(answer, length, std::regex("\r\nContent-Length: ([0-9]+)\r\n"))) << answer;
    EXPECT_EQ(body_of(answer).size(), std::stoul(length[1])) << "an answer was cut off";
    EXPECT_NE(answer.find("\ncfm_step{"), std::string::npos) << answer;
  }
  EXPECT_TRUE(Prometheus::wait_for([&] { return last_step() > before + 20; }));
  kill(job.pid(), SIGUSR1);
  wait_for_exit_code(job, 75);
}

TEST_F(WatchedRun, GoesOnUnderMaliciousClients) {
  Running job(command(), folder_.path() / "log");
  ASSERT_TRUE(Prometheus::wait_for([&] { return std::filesystem::exists(run_) && !losses(run_).empty(); }));
  const int at = port();
  {
    const DrippingClients dripping(at, 16);
    std::vector<std::unique_ptr<Connection>> idle;
    for (int i = 0; i < 50; ++i) {
      idle.push_back(std::make_unique<Connection>(at));
      idle.back()->send(i % 2 == 0 ? std::string(100'000, 'A') : "GET /met");
    }
    const long before = last_step();
    EXPECT_TRUE(Prometheus::wait_for([&] { return last_step() > before + 20; }));
  }
  EXPECT_TRUE(Prometheus::wait_for([&] { return http_get(at, "/metrics").find("\ncfm_step{") != std::string::npos; }));
  kill(job.pid(), SIGUSR1);
  wait_for_exit_code(job, 75);
}

TEST_F(WatchedRun, RefusesAnAddressWithoutAPort) {
  const Finished finished = run(command({"--metrics=localhost", "--metrics_textfile=x"}, 0), folder_.path() / "log");
  EXPECT_EQ(finished.exit_code, 2);
  EXPECT_NE(finished.output.find("--metrics=localhost: expected one address and a port"), std::string::npos);
  EXPECT_NE(finished.output.find("--metrics_textfile=x: expected a folder"), std::string::npos);
}

}  // namespace
}  // namespace cfm::test
