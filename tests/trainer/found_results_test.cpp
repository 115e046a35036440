#include "trainer/found_results.h"

#include <gtest/gtest.h>

#include <chrono>
#include <sstream>

#include "support/scratch_directory.h"

namespace cfm::trainer {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

class ResultsOfEvaluators : public testing::Test {
 protected:
  // Bits per dimension, or FID and KID, of a step.
  fs::path nll(int step, double bits, const std::string& tag = "t") const {
    return write("nll", step, tag, R"({"metric": "nll", "bits_per_dim": )" + std::to_string(bits) + "}");
  }
  fs::path fid(int step, double fid, double kid) const {
    return write("fid", step, "t",
                 R"({"metric": "fid", "fid": {"mean": )" + std::to_string(fid) + R"(}, "kid": {"mean": )" +
                     std::to_string(kid) + "}}");
  }
  fs::path write(const std::string& evaluator, int step, const std::string& tag, const std::string& text) const {
    char digits[16];
    std::snprintf(digits, sizeof digits, "%09d", step);
    return folder_.write("results/" + evaluator + "-step_" + digits + "-" + tag + ".json", text);
  }
  std::string look() {
    found_.look(series_);
    return series_.text();
  }
  static std::string line(const std::string& metric, const std::string& step, const std::string& value,
                          const std::string& tag = "t") {
    return "\ncfm_result{run=\"r\",metric=\"" + metric + "\",step=\"" + step + "\",tag=\"" + tag + "\"} " + value +
           "\n";
  }
  static int count(const std::string& text, const std::string& metric) {
    int lines = 0;
    std::istringstream all(text);
    for (std::string one; std::getline(all, one);)
      lines += one.starts_with("cfm_result{") && one.find("metric=\"" + metric + "\"") != std::string::npos ? 1 : 0;
    return lines;
  }
  static double written(const std::string& text) {
    const std::string name = "\ncfm_result_time_seconds{run=\"r\"} ";
    return text.find(name) == std::string::npos ? 0 : std::stod(text.substr(text.find(name) + name.size()));
  }
  static bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }
  tests::ScratchDirectory folder_;
  metrics::Series series_{"r"};
  FoundResults found_{folder_ / "results"};
};

TEST_F(ResultsOfEvaluators, AreToldAsTheyCome) {
  EXPECT_EQ(count(look(), "fid"), 0) << "there is no folder yet";
  nll(12000, 2.5);
  EXPECT_TRUE(has(look(), line("nll_bits_per_dim", "12000", "2.5")));
  fid(12000, 4.5, 0.25);
  const std::string text = look();
  EXPECT_TRUE(has(text, line("nll_bits_per_dim", "12000", "2.5"))) << text;
  EXPECT_TRUE(has(text, line("fid", "12000", "4.5"))) << text;
  EXPECT_TRUE(has(text, line("kid", "12000", "0.25"))) << text;
}

TEST_F(ResultsOfEvaluators, AreTheTwoHundredOfTheNewestStepsWhateverOrderTheyComeIn) {
  for (int i = 0; i < 201; ++i) {
    const int step = 1 + (i * 7) % 201;  // 7 and 201 have no common divisor: each once
    nll(step, step);
    fid(step, step, 0.5);
  }
  std::string text = look();
  for (const char* metric : {"nll_bits_per_dim", "fid", "kid"}) EXPECT_EQ(count(text, metric), 200) << metric;
  EXPECT_FALSE(has(text, line("fid", "1", "1")));
  EXPECT_TRUE(has(text, line("fid", "2", "2")));
  EXPECT_TRUE(has(text, line("fid", "201", "201")));
  fid(202, 202, 0.5);
  text = look();
  EXPECT_EQ(count(text, "fid"), 200);
  EXPECT_EQ(count(text, "kid"), 200);
  EXPECT_FALSE(has(text, line("fid", "2", "2")));
  EXPECT_TRUE(has(text, line("fid", "202", "202")));
  EXPECT_TRUE(has(text, line("nll_bits_per_dim", "2", "2"))) << "another evaluator's are counted by themselves";
}

TEST_F(ResultsOfEvaluators, AreReadAgainWhenTheyAreWrittenAnew) {
  const fs::path file = fid(5, 4.5, 0.25);
  look();
  folder_.write("results/" + file.filename().string(), R"({"metric": "fid", "fid": {"mean": 3.5}})");
  fs::last_write_time(file, fs::last_write_time(file) + 1s);
  const std::string text = look();
  EXPECT_TRUE(has(text, line("fid", "5", "3.5"))) << text;
  EXPECT_EQ(count(text, "fid"), 1);
  EXPECT_EQ(count(text, "kid"), 0) << "it was not measured again";
}

TEST_F(ResultsOfEvaluators, GoWithTheirFiles) {
  const fs::path file = nll(5, 2.5);
  nll(6, 2.25);
  EXPECT_EQ(count(look(), "nll_bits_per_dim"), 2);
  fs::remove(file);
  const std::string text = look();
  EXPECT_EQ(count(text, "nll_bits_per_dim"), 1);
  EXPECT_TRUE(has(text, line("nll_bits_per_dim", "6", "2.25"))) << text;
  fs::rename(folder_ / "results", folder_ / "away");
  EXPECT_EQ(look(), text) << "a folder that cannot be listed says nothing";
}

TEST_F(ResultsOfEvaluators, AreNotListedAgainInAFolderThatHasNotChangedForAWhile) {
  const fs::path folder = folder_ / "results";
  nll(5, 2.5);
  fs::last_write_time(folder, fs::file_time_type::clock::now() - 1min);
  EXPECT_EQ(count(look(), "nll_bits_per_dim"), 1);
  const auto still = fs::last_write_time(folder);
  nll(6, 2.25);
  fs::last_write_time(folder, still);
  EXPECT_EQ(count(look(), "nll_bits_per_dim"), 1);
  nll(7, 2);
  EXPECT_EQ(count(look(), "nll_bits_per_dim"), 3);
  const auto just_now = fs::last_write_time(folder);
  nll(8, 2);
  fs::last_write_time(folder, just_now);
  EXPECT_EQ(count(look(), "nll_bits_per_dim"), 4) << "a change just now may not be the last of its time";
}

TEST_F(ResultsOfEvaluators, HaveTheTimeOfTheNewestOfThem) {
  const auto now = fs::file_time_type::clock::now();
  fs::last_write_time(nll(5, 2.5), now - 1h);
  const double first = written(look());
  fs::last_write_time(nll(4, 2.5), now);
  EXPECT_NEAR(written(look()) - first, 3600, 1e-3);
}

TEST_F(ResultsOfEvaluators, AreNotWhatElseLiesThere) {
  nll(5, 2.5, "a\xff");  // a label that is no UTF-8 would spoil every scrape
  nll(5, 2.5, "");
  write("nll", 5, "torn", "{\"metric\": \"nll\", \"bits_");
  write("copy_of_nll", 5, "t", R"({"metric": "nll", "bits_per_dim": 1})");
  folder_.write("results/nll-step_5-t.json", R"({"metric": "nll", "bits_per_dim": 1})");
  folder_.write("results/nll-step_000000005-t.json.tmp", R"({"metric": "nll", "bits_per_dim": 1})");
  folder_.write("results/nll-step_.json", "{}");
  folder_.write("results/notes.json", "{}");
  const std::string text = look();
  EXPECT_FALSE(has(text, "cfm_result")) << text;
}

}  // namespace
}  // namespace cfm::trainer
