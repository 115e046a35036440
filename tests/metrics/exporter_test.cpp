#include "metrics/exporter.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "metrics/text_file.h"
#include "support/file_bytes.h"
#include "support/http.h"
#include "support/scratch_directory.h"

namespace cfm::metrics {
namespace {

namespace fs = std::filesystem;

class Exporters : public testing::Test {
 protected:
  Exporters() { series_.set("cfm_step", 7); }
  ExporterConfig config() const {
    return {.targets = folder_ / "targets", .run = "r", .node = "n1", .run_dir = "/runs/r"};
  }
  std::vector<fs::path> files(const std::string& folder) const {
    std::vector<fs::path> found;
    if (!fs::exists(folder_ / folder)) return found;
    for (const auto& entry : fs::directory_iterator(folder_ / folder)) found.push_back(entry.path());
    return found;
  }
  // The value of cfm_node_time_seconds.
  static double time_in(const std::string& text) {
    const std::string name = "\ncfm_node_time_seconds{run=\"r\",node=\"n1\"} ";
    const size_t at = text.find(name);
    return at == std::string::npos ? 0 : std::stod(text.substr(at + name.size()));
  }
  tests::ScratchDirectory folder_;
  Series series_{"r"};
};

TEST_F(Exporters, TellPrometheusOfALoopbackAddressWhereItMayBeOnThisNode) {
  const Exporter exporter(config(), series_);
  ASSERT_EQ(files("targets").size(), 1U);
  EXPECT_NE(test::bytes_of(files("targets")[0]).find("\"127.0.0.1:"), std::string::npos);
  EXPECT_NE(exporter.text().find("from this node alone"), std::string::npos) << exporter.text();
}

TEST_F(Exporters, TellNoPrometheusOfALoopbackAddressWhereItMayBeOnAnotherNode) {
  ExporterConfig elsewhere = config();
  elsewhere.loopback_targets = false;
  const Exporter exporter(elsewhere, series_);
  EXPECT_TRUE(files("targets").empty());
  EXPECT_NE(exporter.text().find("Prometheus is not told"), std::string::npos) << exporter.text();
}

TEST_F(Exporters, TakeAHostsNameForLoopbackWhereItIsThat) {
  ExporterConfig named = config();
  named.listen = "localhost:0";
  named.loopback_targets = false;
  const Exporter exporter(named, series_);
  EXPECT_TRUE(files("targets").empty());
  EXPECT_NE(exporter.text().find("from this node alone"), std::string::npos) << exporter.text();
}

TEST_F(Exporters, RefuseToAdvertiseWhatIsNoHost) {
  for (const char* wrong : {"node7:9464", "my host", "http://node7", "node7/\"x", "::1"}) {
    ExporterConfig config;
    config.advertise = wrong;
    ASSERT_EQ(config.validate().size(), 1U) << wrong;
    EXPECT_NE(config.validate()[0].find(std::string("--metrics_advertise=") + wrong), std::string::npos);
  }
  for (const char* good : {"", "node7", "node-7.cluster.example", "10.0.0.7", "[fe80::7]", "n_7"}) {
    ExporterConfig config;
    config.advertise = good;
    EXPECT_EQ(config.validate(), Problems{}) << good;
  }
}

TEST_F(Exporters, TellPrometheusOfAnAddressThatOthersReach) {
  ExporterConfig reached = config();
  reached.loopback_targets = false;
  reached.listen = "0.0.0.0:0";
  {
    const Exporter exporter(reached, series_);
    ASSERT_EQ(files("targets").size(), 1U);
    EXPECT_NE(test::bytes_of(files("targets")[0]).find("\"n1:"), std::string::npos);
  }
  reached.listen = "127.0.0.1:0";  // behind a tunnel
  reached.advertise = "gate";
  const Exporter exporter(reached, series_);
  ASSERT_EQ(files("targets").size(), 1U);
  EXPECT_NE(test::bytes_of(files("targets")[0]).find("\"gate:"), std::string::npos);
}

TEST_F(Exporters, SayThatARunOfTheSameNameIsAtWork) {
  ExporterConfig other = config();
  other.run_dir = "/elsewhere/r";
  const Exporter first(other, series_), second(config(), series_);
  EXPECT_EQ(first.text().find("at work under the same name"), std::string::npos) << first.text();
  EXPECT_NE(second.text().find("; /elsewhere/r is at work under the same name, r"), std::string::npos) << second.text();
  EXPECT_EQ(files("targets").size(), 2U);
}

TEST_F(Exporters, GiveEachRunAndNodeAFileOfItsOwnInAFolderAndTakeItAway) {
  fs::create_directories(folder_ / "collector");
  ExporterConfig here = config();
  here.listen = "";
  here.textfile = folder_ / "collector";
  ExporterConfig there = here;
  there.node = "n2";
  {
    const Exporter first(here, series_), second(there, series_);
    ASSERT_EQ(files("collector").size(), 2U);
    for (const fs::path& file : files("collector")) {
      EXPECT_EQ(file.extension(), ".prom");
      EXPECT_NE(test::bytes_of(file).find("\ncfm_step{run=\"r\"} 7\n"), std::string::npos) << test::bytes_of(file);
    }
    EXPECT_NE(first.text().find((folder_ / "collector").string()), std::string::npos) << first.text();
  }
  EXPECT_TRUE(files("collector").empty());
}

TEST_F(Exporters, TellTheTimeToWhoeverAsksAlsoWhereTheProgramDoesNothing) {
  ExporterConfig asked = config();
  asked.address_file = folder_ / "address";
  const Exporter exporter(asked, series_);
  const std::string address = test::bytes_of(asked.address_file);
  const int port = std::stoi(address.substr(address.rfind(':') + 1));
  const double first = time_in(test::http_get(port, "/metrics"));
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_GT(first, 1e9);
  EXPECT_GT(time_in(test::http_get(port, "/metrics")), first);
}

TEST_F(Exporters, RefuseATextFileThatNodeExporterWouldNotRead) {
  ExporterConfig wrong = config();
  wrong.textfile = folder_ / "none";
  ASSERT_EQ(wrong.validate().size(), 1U);
  EXPECT_NE(wrong.validate()[0].find("expected a folder that is there, or a name that ends in .prom"),
            std::string::npos);
  wrong.textfile = folder_.path();
  EXPECT_TRUE(wrong.validate().empty());
  wrong.textfile = folder_ / "a.prom";
  EXPECT_TRUE(wrong.validate().empty());
}

TEST(TextFiles, AreWrittenAgainAndAgainByThemselvesAndGoAtTheEnd) {
  const tests::ScratchDirectory folder;
  std::atomic<int> asked = 0;
  {
    const TextFile file(
        folder / "a.prom", [&] { return std::to_string(++asked); }, std::chrono::milliseconds(10));
    EXPECT_TRUE(fs::exists(folder / "a.prom"));
    for (int i = 0; i < 3000 && std::stoi("0" + test::bytes_of(folder / "a.prom")) < 3; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    EXPECT_GE(std::stoi(test::bytes_of(folder / "a.prom")), 3);
  }
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(TextFiles, ThatSomebodyWroteJustNowAreWarnedOf) {
  const tests::ScratchDirectory folder;
  const fs::path file = folder.write("shared.prom", "# another job's\n");
  const auto said = [&] {
    testing::internal::CaptureStderr();
    {
      const TextFile one(file, [] { return "x 1\n"; });
    }
    return testing::internal::GetCapturedStderr();
  };
  EXPECT_NE(said().find("shared.prom was written "), std::string::npos);
  EXPECT_EQ(said(), "") << "the last one took it away";
}

TEST(TextFiles, ThatCannotBeWrittenEndNothingAndAreSaidOnce) {
  const tests::ScratchDirectory folder;
  std::atomic<int> asked = 0;
  testing::internal::CaptureStderr();
  {
    const TextFile file(
        folder / "none/a.prom", [&] { return std::to_string(++asked); }, std::chrono::milliseconds(5));
    while (asked < 3) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_NE(said.find("none/a.prom"), std::string::npos) << said;
  EXPECT_EQ(said.find("none/a.prom", said.find("The run goes on")), std::string::npos) << said;
}

}  // namespace
}  // namespace cfm::metrics
