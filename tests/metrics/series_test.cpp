#include "metrics/series.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <stdexcept>

#include "metrics/catalogue.h"
#include "support/file_bytes.h"
#include "support/scratch_directory.h"
#include "support/subprocess.h"

namespace cfm::metrics {
namespace {

bool says(const Series& series, const std::string& line) {
  return ("\n" + series.text()).find("\n" + line + "\n") != std::string::npos;
}

TEST(Series, AGaugeIsWhatItWasSetToAndACounterTheSumFromZero) {
  Series series("digits");
  series.set("cfm_loss", 0.5);
  series.set("cfm_loss", 0.25);
  series.add("cfm_steps_total", 0);
  EXPECT_TRUE(says(series, "cfm_steps_total{run=\"digits\"} 0")) << series.text();
  series.add("cfm_steps_total", 1);
  series.add("cfm_steps_total", 2);
  EXPECT_TRUE(says(series, "cfm_loss{run=\"digits\"} 0.25")) << series.text();
  EXPECT_TRUE(says(series, "cfm_steps_total{run=\"digits\"} 3")) << series.text();
  EXPECT_TRUE(says(series, "# TYPE cfm_steps_total counter")) << series.text();
}

TEST(Series, CarriesItsLabelsByTheCataloguesNames) {
  Series series("r");
  series.set("cfm_phase_seconds", 1.5, {"forward", "max"});
  series.set("cfm_phase_seconds", 0.5, {"forward", "min"});
  EXPECT_TRUE(says(series, "cfm_phase_seconds{run=\"r\",over=\"max\",phase=\"forward\"} 1.5")) << series.text();
  EXPECT_TRUE(says(series, "cfm_phase_seconds{run=\"r\",over=\"min\",phase=\"forward\"} 0.5")) << series.text();
}

TEST(Series, AGaugeThatIsTakenAwayIsGoneUntilItIsSetAgain) {
  Series series("r");
  series.set("cfm_result", 4.5, {"fid", "1", "t"});
  series.set("cfm_result", 3.5, {"fid", "2", "t"});
  series.remove("cfm_result", {"fid", "1", "t"});
  series.remove("cfm_result", {"fid", "1", "t"});
  series.remove("cfm_result", {"fid", "3", "t"});
  EXPECT_EQ(series.text().find("step=\"1\""), std::string::npos) << series.text();
  EXPECT_TRUE(says(series, "cfm_result{run=\"r\",metric=\"fid\",step=\"2\",tag=\"t\"} 3.5")) << series.text();
  series.set("cfm_result", 2.5, {"fid", "1", "t"});
  EXPECT_TRUE(says(series, "cfm_result{run=\"r\",metric=\"fid\",step=\"1\",tag=\"t\"} 2.5")) << series.text();
}

TEST(Series, RefusesWhatIsNotInTheCatalogue) {
  Series series("r");
  EXPECT_THROW(series.set("cfm_no_such_thing", 1), std::logic_error);
  EXPECT_THROW(series.set("cfm_steps_total", 1), std::logic_error) << "a counter is no gauge";
  EXPECT_THROW(series.add("cfm_loss", 1), std::logic_error);
  EXPECT_THROW(series.set("cfm_phase_seconds", 1), std::logic_error) << "without its labels";
  EXPECT_THROW(series.set("cfm_loss", 1, {"a"}), std::logic_error) << "with a label that it does not have";
}

// Prometheus' own linter of names, help texts and kinds, over every series that there is.
TEST(Series, AllOfTheCatalogueIsGoodInPromtoolsEyes) {
  Series series("run \"with\" quotes\\and\nlines");
  for (const SeriesInfo& info : kCatalogue) {
    const auto labels = std::count(info.labels.begin(), info.labels.end(), ' ') + (info.labels.empty() ? 0 : 1);
    const auto put = [&](LabelValues values) {
      info.kind == Kind::kGauge ? series.set(info.name, 1, values) : series.add(info.name, 1, values);
    };
    labels == 0 ? put({}) : labels == 1 ? put({"a"}) : labels == 2 ? put({"a", "b"}) : put({"a", "b", "c"});
  }
  const tests::ScratchDirectory folder;
  test::put_bytes(folder / "metrics", series.text());
  const test::CommandResult lint = test::run_command("promtool check metrics < " + (folder / "metrics").string());
  EXPECT_EQ(lint.exit_code, 0) << lint.output;
  EXPECT_EQ(lint.output, "");
}

std::string scope_name(Scope scope) {
  return scope == Scope::kRun ? "run" : scope == Scope::kNode ? "node" : "evaluation";
}

TEST(RunName, IsTheFoldersAndAlwaysText) {
  EXPECT_EQ(run_name("", "/runs/digits/"), "digits");
  EXPECT_EQ(run_name("mine", "/runs/digits"), "mine");
  EXPECT_EQ(run_name("", "/runs/ü \"q\" #1"), "ü \"q\" #1");
  EXPECT_EQ(run_name("", "/runs/bad\xff"), "bad\uFFFD");  // Prometheus would refuse the whole scrape
}

TEST(Catalogue, IsTheTableOfTheDocument) {
  const std::string document = test::bytes_of(CFM_SOURCE_DIR "/docs/metrics.md");
  size_t rows = 0;
  for (size_t at = document.find("\n| `cfm_"); at != std::string::npos; at = document.find("\n| `cfm_", at + 1)) ++rows;
  EXPECT_EQ(rows, kCatalogue.size());
  for (const SeriesInfo& info : kCatalogue) {
    const std::string row = "\n| `" + std::string(info.name) + "` | " +
                            (info.kind == Kind::kGauge ? "gauge" : "counter") + " | " + scope_name(info.scope) + " | " +
                            std::string(info.labels) + " | " + std::string(info.help) + " |\n";
    EXPECT_NE(document.find(row), std::string::npos) << "docs/metrics.md lacks:" << row;
  }
}

}  // namespace
}  // namespace cfm::metrics
