// What scripts/monitor starts: a real Prometheus with the configuration and the rules that are shipped.

#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <map>
#include <regex>
#include <set>
#include <sstream>

#include "metrics/exporter.h"
#include "support/dashboards.h"
#include "support/prometheus.h"
#include "support/subprocess.h"

namespace cfm::metrics {
namespace {

namespace fs = std::filesystem;

using test::bytes_of;
using test::Prometheus;
using test::put_bytes;

class Monitor : public testing::Test {
 protected:
  ExporterConfig config() const {
    return {.targets = targets_, .run = "digits", .node = "n1", .run_dir = folder_.path()};
  }
  // A file_sd file for somebody who answers on `port`.
  void put_target(const std::string& folder, int port) const {
    fs::create_directories(targets_ / folder);
    put_bytes(targets_ / folder / "one.json", R"([{"targets": ["127.0.0.1:)" + std::to_string(port) + R"("]}])");
  }
  test::TemporaryFolder folder_;
  fs::path targets_ = folder_.path() / "o'neill & sons|100% \"x\" #1";
};

TEST_F(Monitor, FindsARunInAFolderOfAnyNameWithAConfigurationThatPromtoolLikes) {
  Series series("digits");
  series.set("cfm_step", 7);
  const Exporter exporter(config(), series);
  const Prometheus prometheus(folder_.path() / "prometheus", targets_);
  EXPECT_TRUE(
      Prometheus::wait_for([&] { return prometheus.value("cfm_step{job='cfm',run='digits',node='n1'}") == 7; }));
  const test::CommandResult check = test::run_command("promtool check config " + prometheus.config().string());
  EXPECT_EQ(check.exit_code, 0) << check.output;
  EXPECT_NE(check.output.find("2 rule files found"), std::string::npos) << check.output;
}

TEST_F(Monitor, HasEveryRuleThatIsShippedAndEachCanBeEvaluated) {
  std::set<std::string> shipped;
  for (const char* file : {"recording.yml", "alerts.yml"}) {
    std::istringstream lines(bytes_of(std::string(CFM_SOURCE_DIR "/metrics/prometheus/") + file));
    for (std::string line; std::getline(lines, line);)
      for (const std::string key : {"  - alert: ", "  - record: "})
        if (line.starts_with(key)) shipped.insert(line.substr(key.size()));
  }
  EXPECT_GE(shipped.size(), 15U);
  const Prometheus prometheus(folder_.path() / "prometheus", targets_);
  const auto evaluated = [&] {
    std::set<std::string> names;
    for (const nlohmann::json& rule : prometheus.rules())
      if (rule.at("health") == "ok") names.insert(rule.at("name"));
    return names;
  };
  EXPECT_TRUE(Prometheus::wait_for([&] { return evaluated() == shipped; }))
      << nlohmann::json(prometheus.rules()).dump(1);
}

// What promtool is asked of alerts: of each at a time when it fires, and at one when it does not.
TEST(Alerts, AreEachTestedWhereTheyFireAndWhereTheyDoNot) {
  const std::string alerts = bytes_of(CFM_SOURCE_DIR "/metrics/prometheus/alerts.yml"),
                    tests = bytes_of(CFM_SOURCE_DIR "/metrics/prometheus/alerts_test.yml");
  const std::regex name("  - alert: (\\w+)\n");
  int count = 0;
  for (std::sregex_iterator one(alerts.begin(), alerts.end(), name), end; one != end; ++one, ++count) {
    const std::string tested = "alertname: " + (*one)[1].str();
    EXPECT_NE(tests.find(tested + ", exp_alerts: []}"), std::string::npos) << "does not fire: " << tested;
    EXPECT_TRUE(std::regex_search(tests, std::regex(tested + "(, exp_alerts: \\[\\{|\\s+exp_alerts:\\s+- )")))
        << "fires: " << tested;
  }
  EXPECT_GE(count, 12);
}

TEST_F(Monitor, AlertsOfALossThatIsNotANumberUntilItIsOneAgain) {
  Series series("digits");
  series.set("cfm_loss", std::nan(""));
  series.set("cfm_validation_loss", 0.5, {"model"});
  const Exporter exporter(config(), series);
  const Prometheus prometheus(folder_.path() / "prometheus", targets_);
  const std::string alert = "ALERTS{alertname='CfmLossNotFinite',run='digits',alertstate='firing'}";
  EXPECT_TRUE(Prometheus::wait_for([&] { return !prometheus.ask(alert).empty(); }));
  series.set("cfm_loss", 0.5);
  EXPECT_TRUE(Prometheus::wait_for([&] { return prometheus.ask(alert).empty(); }));
  series.set("cfm_validation_loss", HUGE_VAL, {"model"});
  EXPECT_TRUE(Prometheus::wait_for([&] { return !prometheus.ask(alert).empty(); }));
}

// As the trainer tells it of GPUs, of which this machine may have none: each panel that asks for them.
TEST_F(Monitor, HasDataForThePanelsOfGpus) {
  Series series("digits");
  const std::map<std::string, double> bytes{{"allocated", 3e9}, {"peak", 5e9}, {"reserved", 6e9}};
  for (const auto& [of, value] : bytes) series.set("cfm_gpu_memory_bytes", value, {of});
  const Exporter exporter(config(), series);
  const Prometheus prometheus(folder_.path() / "prometheus", targets_);
  int panels = 0;
  for (const auto& [name, query] : test::dashboard_queries("digits")) {
    if (query.find("cfm_gpu_") == std::string::npos) continue;
    ++panels;
    ASSERT_TRUE(Prometheus::wait_for([&] { return prometheus.ask(query).size() == bytes.size(); })) << name;
    for (const nlohmann::json& one : prometheus.ask(query))
      EXPECT_EQ(std::stod(one["value"][1].get<std::string>()), bytes.at(one["metric"]["of"])) << name;
  }
  EXPECT_GE(panels, 1);
}

// A trainer's and an evaluator's series in the files that --metrics_textfile names, which a real node_exporter reads.
TEST_F(Monitor, TakesTextFilesFromNodeExporters) {
  const fs::path collector = folder_.path() / "collector";
  fs::create_directories(collector);
  Series run("digits"), evaluation("digits", "cfm_eval_nll");
  run.set("cfm_step", 7);
  evaluation.set("cfm_result", 2.5, {"nll_bits_per_dim", "100", "a1"});
  put_bytes(collector / "evaluation.prom", evaluation.text());
  ExporterConfig to_file = config();
  to_file.listen.clear();
  to_file.textfile = collector;
  const Exporter exporter(to_file, run);
  const int port = test::free_port();
  const test::Running node_exporter({"prometheus-node-exporter", "--collector.disable-defaults", "--collector.textfile",
                                     "--collector.textfile.directory=" + collector.string(),
                                     "--web.listen-address=127.0.0.1:" + std::to_string(port)},
                                    folder_.path() / "node_exporter.log");
  put_target("node_exporters", port);
  const Prometheus prometheus(folder_.path() / "prometheus", targets_);
  EXPECT_TRUE(Prometheus::wait_for([&] {
    return prometheus.value(
               "cfm_result{job='node_exporter',run='digits',program='cfm_eval_nll',step='100',tag='a1'}") == 2.5;
  })) << bytes_of(folder_.path() / "node_exporter.log");
  EXPECT_EQ(prometheus.value("cfm_step{job='node_exporter',run='digits'}"), 7);
  EXPECT_EQ(prometheus.value("node_textfile_scrape_error"), 0);
}

// What a killed job left and nobody has kept fresh for an hour; not what lives, and not what is another's.
TEST_F(Monitor, TakesAwayTheTargetsOfKilledJobsAlone) {
  put_target("", 1);
  const fs::path own = targets_ / "mine.json";
  fs::rename(targets_ / "one.json", own);
  const std::string ours =
      R"([{"targets": ["127.0.0.1:1"], "labels": {"__cfm_target": "digits", "__cfm_run_dir": "/runs/digits"}}])";
  put_bytes(targets_ / "killed.json", ours);
  put_bytes(targets_ / "lives.json", ours);
  const auto now = fs::file_time_type::clock::now();
  for (const fs::path& file : {own, targets_ / "killed.json"})
    fs::last_write_time(file, now - std::chrono::minutes(61));
  fs::last_write_time(targets_ / "lives.json", now - std::chrono::minutes(58));
  const Prometheus prometheus(folder_.path() / "prometheus", targets_);
  EXPECT_TRUE(Prometheus::wait_for([&] { return !fs::exists(targets_ / "killed.json"); }));
  EXPECT_TRUE(fs::exists(targets_ / "lives.json"));
  EXPECT_TRUE(fs::exists(own));
}

TEST_F(Monitor, LeavesAnothersDataAlone) {
  const fs::path data = folder_.path() / "prometheus";
  const Prometheus first(data, targets_);
  const std::string before = bytes_of(first.config());
  const test::Finished second =
      test::run({"env", "CFM_MONITOR_PORT=" + std::to_string(test::free_port()), "CFM_MONITOR_DATA=" + data.string(),
                 CFM_SOURCE_DIR "/scripts/monitor", (folder_.path() / "others").string()},
                folder_.path() / "log2");
  EXPECT_EQ(second.exit_code, 2) << second.output;
  EXPECT_NE(second.output.find("another one is at work in " + data.string()), std::string::npos) << second.output;
  EXPECT_EQ(bytes_of(first.config()), before);
}

TEST_F(Monitor, RefusesAFolderThatPrometheusTakesForAPattern) {
  for (const std::string name : {"a*b", "a?b", "a[b]", "a\\b"}) {
    const test::Finished finished =
        test::run({CFM_SOURCE_DIR "/scripts/monitor", (folder_.path() / name).string()}, folder_.path() / "log");
    EXPECT_EQ(finished.exit_code, 2) << name;
    EXPECT_NE(finished.output.find(name + ": Prometheus takes * ? [ and \\ for patterns"), std::string::npos)
        << finished.output;
    EXPECT_FALSE(fs::exists(folder_.path() / name));
  }
}

}  // namespace
}  // namespace cfm::metrics
