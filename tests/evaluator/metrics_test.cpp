// What evaluators tell Prometheus: a real Pushgateway, a real Prometheus behind it, text files for node_exporter.

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <algorithm>
#include <cmath>
#include <regex>
#include <sstream>
#include <thread>

#include "evaluator/evaluation_metrics.h"
#include "support/dashboards.h"
#include "support/pushgateway.h"
#include "support/shard_files.h"
#include "support/subprocess.h"
#include "support/tiny_weights.h"

namespace cfm::test {
namespace {

namespace fs = std::filesystem;

class EvaluationMetrics : public testing::Test {
 protected:
  using Flags = std::vector<std::string>;
  EvaluationMetrics() {
    fs::create_directories(path("data"));
    tests::write_shard(path("data") / "images.h5", {1, 8, 8}, 40);
    for (const int64_t step : {100, 200}) write_tiny_checkpoint(run_, step, 0, {0.9999}, 200);
  }
  fs::path path(const std::string& name) const { return folder_.path() / name; }
  Finished nll(const Flags& flags, int ranks = 2) const {
    return run(mpirun(ranks) + with_flags({program("cfm_eval_nll"), "--data=" + path("data").string(), "--solver=euler",
                                           "--steps=2", "--check_images=0", "--count=4", "--tag=t"},
                                          flags),
               path("log"));
  }
  Finished fid(const Flags& flags) const {
    return run(mpirun(2) +
                   Flags{program("cfm_eval_fid"), "--run_dir=" + run_.string(), "--reference=" + path("data").string(),
                         "--features=digits:" CFM_SOURCE_DIR "/configs/digits/features.safetensors", "--solver=euler",
                         "--steps=2", "--count=16", "--net_batch=8", "--repeats=1", "--tag=t"} +
                   flags,
               path("log"));
  }
  nlohmann::json result(const std::string& name) const {
    return nlohmann::json::parse(bytes_of(run_ / "results" / (name + ".json")));
  }
  // The value of the first line of a text in Prometheus' format that has this name and these labels, in any order.
  static double value(const std::string& text, const std::string& name, const Flags& labels) {
    const std::regex line("(?:^|\n)" + name + "\\{([^}]*)\\} ([^\n]+)");
    for (std::sregex_iterator one(text.begin(), text.end(), line), end; one != end; ++one) {
      const std::string found = "," + (*one)[1].str() + ",";
      if (std::ranges::all_of(labels,
                              [&](const auto& label) { return found.find("," + label + ",") != std::string::npos; }))
        return std::stod((*one)[2]);
    }
    return std::nan("");
  }
  static void expect_promtool_likes(const fs::path& file) {
    const CommandResult lint = run_command("promtool check metrics < " + file.string());
    EXPECT_EQ(lint.exit_code, 0) << file << lint.output;
    EXPECT_EQ(lint.output, "") << file;
  }

  TemporaryFolder folder_;
  fs::path run_ = folder_.path() / "digits";
};

TEST_F(EvaluationMetrics, ArePushedToAGatewayFromWhichPrometheusAnswersTheDashboard) {
  const Pushgateway gateway(folder_.path());
  const std::string push = "--metrics_push=http://" + gateway.address();
  const Finished likelihood = nll({"--watch=" + run_.string(), push});
  ASSERT_EQ(likelihood.exit_code, 0) << likelihood.output;
  const Finished distance = fid({push});
  ASSERT_EQ(distance.exit_code, 0) << distance.output;
  EXPECT_EQ(likelihood.output.find("metrics:"), std::string::npos) << likelihood.output;
  const std::string text = gateway.metrics();
  for (const std::string step : {"100", "200"}) {
    const Flags labels{"job=\"cfm_eval_nll\"", "run=\"digits\"", "step=\"" + step + "\"", "tag=\"t\""};
    const nlohmann::json found = result("nll-step_000000" + step + "-t");
    EXPECT_DOUBLE_EQ(value(text, "cfm_result", labels + Flags{"metric=\"nll_bits_per_dim\""}),
                     found.at("bits_per_dim"));
    EXPECT_DOUBLE_EQ(value(text, "cfm_result", labels + Flags{"metric=\"nll_nfe\""}), found.at("nfe").at("mean"));
    EXPECT_EQ(value(text, "cfm_evaluation_images", labels + Flags{"metric=\"nll\""}), 4);
    EXPECT_EQ(value(text, "cfm_evaluation_eta_seconds", labels + Flags{"metric=\"nll\""}), 0);
  }
  EXPECT_DOUBLE_EQ(value(text, "cfm_result", {"job=\"cfm_eval_fid\"", "step=\"200\"", "metric=\"fid\""}),
                   result("fid-step_000000200-t").at("fid").at("mean"));

  fs::create_directories(path("targets/pushgateways"));
  put_bytes(path("targets/pushgateways/one.json"), "[{\"targets\": [\"" + gateway.address() + "\"]}]");
  const Prometheus prometheus(path("prometheus"), path("targets"));
  int queries = 0;
  for (const auto& [name, query] : test::dashboard_queries("digits")) {
    // The digits' network has no spatial features.
    if (!name.starts_with("evaluations, ") || query.find("\"sfid\"") != std::string::npos) continue;
    EXPECT_TRUE(Prometheus::wait_for([&] { return !prometheus.ask(query).empty(); })) << name;
    ++queries;
  }
  EXPECT_GE(queries, 8);
  // The labels are those of the push, not the gateway's.
  EXPECT_DOUBLE_EQ(prometheus.value("cfm_result{job='cfm_eval_nll',run='digits',program='cfm_eval_nll',step='100',"
                                    "tag='t',metric='nll_bits_per_dim'}"),
                   result("nll-step_000000100-t").at("bits_per_dim"));
  EXPECT_TRUE(prometheus.ask("{exported_job!=''}").empty());
}

TEST_F(EvaluationMetrics, ReachAGatewayUnderRunsOfAnyName) {
  const Pushgateway gateway(folder_.path());
  fs::create_directories(path("collector"));
  const Flags names{"my run", "a/b", "x#1", "x?y", "50%25", "ü", "plain-1_2"};
  for (const std::string& name : names) {
    const Finished finished = nll(
        {"--run_dir=" + run_.string(), "--step=100", "--metrics_run=" + name, "--results_dir=" + path("named").string(),
         "--metrics_push=http://" + gateway.address(), "--metrics_textfile=" + path("collector").string()});
    ASSERT_EQ(finished.exit_code, 0) << finished.output;
    EXPECT_EQ(finished.output.find("metrics:"), std::string::npos) << finished.output;
    const Flags labels{"run=\"" + name + "\"", "step=\"100\"", "tag=\"t\"", "metric=\"nll\""};
    EXPECT_EQ(value(gateway.metrics(), "cfm_evaluation_images", labels), 4) << name << "\n" << gateway.metrics();
  }
  EXPECT_EQ(std::distance(fs::directory_iterator(path("collector")), {}), static_cast<long>(names.size()));
}

TEST_F(EvaluationMetrics, StandInOneFileWithAllThatAJobDid) {
  const fs::path file = path("cfm.prom");
  const Flags flags{"--watch=" + run_.string(), "--metrics_textfile=" + file.string(), "--metrics_run=other"};
  ASSERT_EQ(nll(flags).exit_code, 0) << bytes_of(path("log"));
  expect_promtool_likes(file);
  const std::string text = bytes_of(file);
  for (const std::string step : {"100", "200"})
    EXPECT_DOUBLE_EQ(value(text, "cfm_result",
                           {"run=\"other\"", "program=\"cfm_eval_nll\"", "step=\"" + step + "\"", "tag=\"t\"",
                            "metric=\"nll_bits_per_dim\""}),
                     result("nll-step_000000" + step + "-t").at("bits_per_dim"));
}

// And the same text again from a job that finds its results there.
TEST_F(EvaluationMetrics, StandInAFolderWithAFileForEachEvaluation) {
  fs::create_directories(path("collector"));
  const std::string where = "--metrics_textfile=" + path("collector").string();
  ASSERT_EQ(nll({"--watch=" + run_.string(), where}).exit_code, 0) << bytes_of(path("log"));
  ASSERT_EQ(fid({where}).exit_code, 0) << bytes_of(path("log"));
  Flags names;
  for (const auto& entry : fs::directory_iterator(path("collector"))) {
    names.push_back(entry.path().filename());
    expect_promtool_likes(entry.path());
  }
  std::ranges::sort(names);
  EXPECT_EQ(names, (Flags{"digits-fid-step_000000200-t.prom", "digits-nll-step_000000100-t.prom",
                          "digits-nll-step_000000200-t.prom"}));
  const fs::path file = path("collector") / names[1];
  const auto results_in = [&] {
    std::string lines;
    std::istringstream text(bytes_of(file));
    for (std::string line; std::getline(text, line);)
      if (line.starts_with("cfm_result{")) lines += line + "\n";
    return lines;
  };
  const std::string before = results_in();
  EXPECT_FALSE(before.empty());
  fs::remove(file);
  ASSERT_EQ(nll({"--run_dir=" + run_.string(), "--step=100", where}).exit_code, 0) << bytes_of(path("log"));
  EXPECT_EQ(results_in(), before);
}

// A job that evaluates one step more than it tells of, the last of them halfway.
TEST_F(EvaluationMetrics, AreOfTheNewestTwoHundredAndSayWhenTheLastWillBeDone) {
  const fs::path file = path("cfm.prom"), collector = path("collector");
  fs::create_directories(collector);
  put_bytes(collector / "another.prom", "");
  fs::create_directories(run_ / "results");
  put_bytes(run_ / "results/nll-step_000000001-t.json",
            R"({"metric": "nll", "bits_per_dim": 3.5, "nfe": {"mean": 90}})");
  for (const fs::path& where : {file, collector}) {
    evaluator::EvaluationMetrics metrics(
        {.textfile = where, .program = "cfm_eval_nll", .every = std::chrono::milliseconds(0)}, run_, true);
    metrics.begin({run_ / "results", "nll", 1, "t"}, 40);
    metrics.result();
    const fs::path first = where == file ? file : collector / "digits-nll-step_000000001-t.prom";
    EXPECT_EQ(value(bytes_of(first), "cfm_result", {"step=\"1\"", "metric=\"nll_bits_per_dim\""}), 3.5);
    for (int64_t step = 2; step <= 200; ++step) {
      metrics.begin({run_ / "results", "nll", step, "t"}, 40);
      metrics.progress(40);
    }
    EXPECT_EQ(value(bytes_of(first), "cfm_evaluation_images", {"step=\"1\""}), 40);
    metrics.begin({run_ / "results", "nll", 201, "t"}, 40);
    const auto begun = std::chrono::steady_clock::now();
    metrics.progress(10);  // found there
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    metrics.progress(20);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
    const fs::path last = where == file ? file : collector / "digits-nll-step_000000201-t.prom";
    const std::string text = bytes_of(last);
    EXPECT_EQ(value(text, "cfm_evaluation_images", {"step=\"201\""}), 20);
    EXPECT_EQ(value(text, "cfm_evaluation_last_image", {"step=\"201\""}), 40);
    EXPECT_GE(value(text, "cfm_evaluation_eta_seconds", {"step=\"201\""}), 2 * 0.2)
        << "ten in that time, twenty to come";
    EXPECT_LE(value(text, "cfm_evaluation_eta_seconds", {"step=\"201\""}), 2 * seconds);
  }
  const std::string text = bytes_of(file);
  EXPECT_EQ(text.find("step=\"1\""), std::string::npos);
  EXPECT_EQ(value(text, "cfm_evaluation_images", {"step=\"2\""}), 40);
  EXPECT_FALSE(fs::exists(collector / "digits-nll-step_000000001-t.prom"));
  EXPECT_EQ(std::distance(fs::directory_iterator(collector), {}), 201) << "200 and another's";
}

TEST_F(EvaluationMetrics, ThatNobodyTakesAreSaidOnceAndTheEvaluationGoesOn) {
  const std::string nowhere = "http://127.0.0.1:" + std::to_string(free_port());
  const Finished finished = nll({"--watch=" + run_.string(), "--metrics_push=" + nowhere,
                                 "--metrics_textfile=" + path("none/cfm.prom").string()});
  EXPECT_EQ(finished.exit_code, 0) << finished.output;
  const auto count_of = [&](const std::string& word) {
    int count = 0;
    for (size_t at = finished.output.find(word); at != std::string::npos; at = finished.output.find(word, at + 1))
      ++count;
    return count;
  };
  EXPECT_EQ(count_of(nowhere + " gives no answer"), 1) << finished.output;
  EXPECT_EQ(count_of("none/cfm.prom.tmp"), 1) << finished.output;
  EXPECT_TRUE(fs::exists(run_ / "results/nll-step_000000200-t.json"));
}

TEST_F(EvaluationMetrics, OfWhichAGatewayNeverAnswersHoldUpTheEndForTenSecondsAtMost) {
  const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = ::htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::listen(listener, 16), 0);
  socklen_t size = sizeof address;
  ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size);
  const Finished finished = nll(
      {"--run_dir=" + run_.string(), "--metrics_push=http://127.0.0.1:" + std::to_string(::ntohs(address.sin_port))});
  ::close(listener);
  EXPECT_EQ(finished.exit_code, 0) << finished.output;
  EXPECT_NE(finished.output.find("does not answer"), std::string::npos) << finished.output;
  EXPECT_LT(finished.seconds, 40);
}

TEST_F(EvaluationMetrics, RefusesAddressesThatAreNone) {
  for (const char* url : {"localhost:9091", "http://localhost", "http://:9091", "http://localhost:port"}) {
    const Finished finished =
        nll({"--run_dir=" + run_.string(), std::string("--metrics_push=") + url, "--metrics_textfile=x"}, 0);
    EXPECT_EQ(finished.exit_code, 2) << url;
    EXPECT_NE(finished.output.find(std::string("--metrics_push=") + url + ": expected http://HOST:PORT"),
              std::string::npos)
        << finished.output;
    EXPECT_NE(finished.output.find("--metrics_textfile=x: expected a folder"), std::string::npos) << finished.output;
  }
}

}  // namespace
}  // namespace cfm::test
