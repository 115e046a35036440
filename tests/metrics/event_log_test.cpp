#include "metrics/event_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/durable_file.h"
#include "base/error.h"
#include "support/scratch_directory.h"

namespace cfm::metrics {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::StartsWith;
using Json = nlohmann::json;

class EventLogFile : public ::testing::Test {
 protected:
  std::vector<std::string> lines() const {
    std::istringstream in(read_file(file_));
    std::vector<std::string> all;
    for (std::string line; std::getline(in, line);) all.push_back(line);
    return all;
  }

  tests::ScratchDirectory scratch_;
  std::filesystem::path file_ = scratch_.path() / "events.jsonl";
};

TEST_F(EventLogFile, EveryEventIsALineWithTimeAttemptAndFields) {
  {
    EventLog log(file_);
    EXPECT_EQ(log.attempt(), 1);
    log.write("step",
              {{"step", int64_t{9007199254740993}}, {"loss", 0.1}, {"ok", true}, {"note", std::string("a\n\"b\"")}});
    log.write("end", {});
  }
  ASSERT_EQ(lines().size(), 2U);
  EXPECT_THAT(lines()[0], StartsWith("{\"time\":\"2"));
  const Json event = Json::parse(lines()[0]);
  EXPECT_THAT(event["time"], MatchesRegex("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z"));
  EXPECT_EQ(event["attempt"], 1);
  EXPECT_EQ(event["event"], "step");
  EXPECT_EQ(event["step"].get<int64_t>(), 9007199254740993);
  EXPECT_EQ(event["loss"].get<double>(), 0.1);
  EXPECT_EQ(event["ok"], true);
  EXPECT_EQ(event["note"], "a\n\"b\"");
  EXPECT_EQ(Json::parse(lines()[1])["event"], "end");
}

TEST_F(EventLogFile, LinesAreInTheFileAsSoonAsTheyAreWritten) {
  EventLog log(file_);
  log.write("start", {});
  EXPECT_EQ(lines().size(), 1U);
}

TEST_F(EventLogFile, NumbersThatJsonCannotHoldBecomeStrings) {
  EventLog log(file_);
  const double inf = std::numeric_limits<double>::infinity();
  log.write("step", {{"a", std::nan("")},
                     {"b", inf},
                     {"c", -inf},
                     {"d", std::string("bad \xff byte")},
                     {"e", std::vector<double>{0.5, inf}}});
  const Json event = Json::parse(lines()[0]);
  EXPECT_EQ(event["a"], "nan");
  EXPECT_EQ(event["b"], "inf");
  EXPECT_EQ(event["c"], "-inf");
  EXPECT_EQ(event["e"], (Json::array({0.5, "inf"})));
  EXPECT_THAT(event["d"].get<std::string>(), StartsWith("bad "));
}

TEST_F(EventLogFile, EveryOpeningIsTheNextAttemptAndKeepsWhatIsThere) {
  for (int64_t attempt = 1; attempt <= 12; ++attempt) {
    EventLog log(file_);
    EXPECT_EQ(log.attempt(), attempt);
    log.write("start", {});
  }
  ASSERT_EQ(lines().size(), 12U);
  for (size_t i = 0; i < 12; ++i) EXPECT_EQ(Json::parse(lines()[i])["attempt"], i + 1);
}

TEST_F(EventLogFile, TheAttemptFollowsTheLargestNotTheLast) {
  scratch_.write("events.jsonl",
                 "{\"attempt\": 7}\n{\"attempt\":3}\nnot json\n\n[1]\n{\"attempt\":\"99\"}\n{\"note\":\"attempt\"}\n");
  EXPECT_EQ(EventLog(file_).attempt(), 8);
}

TEST_F(EventLogFile, TellsOfALastStartThatLeftNeitherAStopNorAnEnd) {
  EXPECT_FALSE(unsaid_end(file_)) << "there is no file";
  for (const std::string last : {"stop", "end"}) {
    EventLog log(file_);
    log.write("start", {{"step", int64_t{90}}});
    log.write(last, {{"step", int64_t{90}}});
    EXPECT_FALSE(unsaid_end(file_)) << last;
  }
  EventLog log(file_);
  log.write("start", {{"step", int64_t{3}}});
  log.write("step", {{"step", int64_t{5}}});
  const auto unsaid = unsaid_end(file_);
  ASSERT_TRUE(unsaid);
  EXPECT_EQ(unsaid->attempt, 3);
  EXPECT_EQ(unsaid->step, 5) << "not the 90 of an earlier start";
  EXPECT_EQ(unsaid->started, Json::parse(lines()[4])["time"]);
  EXPECT_EQ(unsaid->last_heard, Json::parse(lines()[5])["time"]);
}

TEST_F(EventLogFile, ATornLastLineIsClosedOffWhereverItWasTorn) {
  {
    EventLog log(file_);
    log.write("start", {{"loss", 1.5}});
    log.write("step", {{"loss", 2.5}});
  }
  const std::string whole = read_file(file_);
  const size_t second = whole.find('\n') + 1;
  for (size_t cut = second; cut <= whole.size(); ++cut) {
    scratch_.write("events.jsonl", whole.substr(0, cut));
    EventLog log(file_);
    ASSERT_EQ(log.attempt(), 2);
    log.write("start", {{"loss", 3.5}});
    log.write("step", {{"loss", 4.5}});
    const std::vector<std::string> after = lines();
    ASSERT_EQ(after.size(), cut == second ? 3U : 4U) << "cut at " << cut;
    EXPECT_EQ(Json::parse(after.front())["loss"], 1.5);
    EXPECT_EQ(Json::parse(after[after.size() - 2])["loss"], 3.5);
    EXPECT_EQ(Json::parse(after.back())["loss"], 4.5);
  }
}

TEST_F(EventLogFile, AnEmptyPathWritesNothing) {
  EventLog log("");
  log.write("start", {});
  EXPECT_EQ(log.attempt(), 0);
}

TEST_F(EventLogFile, AFileThatCannotBeOpenedIsNamed) {
  const std::filesystem::path nowhere = scratch_.path() / "gone" / "events.jsonl";
  EXPECT_THAT([&] { EventLog log(nowhere); },
              testing::ThrowsMessage<Error>(AllOf(HasSubstr(nowhere.string()), HasSubstr("No such file"))));
}

// A limit on the file's size stands for a full disk: the line that crosses it is cut, the next ones fail.
TEST_F(EventLogFile, AFullDiskIsWarnedOfOnceAndTheNextLineBeginsAfresh) {
  EventLog log(file_);
  log.write("start", {{"filler", std::string(4096, 'x')}});  // the captured warning is a file too, and shorter
  const rlim_t size = std::filesystem::file_size(file_);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit old_limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old_limit), 0);
  const rlimit limit{size + 10, old_limit.rlim_max};
  testing::internal::CaptureStderr();
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  log.write("lost", {});
  log.write("lost", {});
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old_limit), 0);
  std::signal(SIGXFSZ, old_handler);
  log.write("found", {});
  const std::string warning = testing::internal::GetCapturedStderr();
  EXPECT_THAT(warning, AllOf(StartsWith("cfm: warning: "), HasSubstr(file_.string())));
  EXPECT_EQ(std::count(warning.begin(), warning.end(), '\n'), 1);
  ASSERT_EQ(lines().size(), 3U);
  EXPECT_EQ(lines()[1].size(), 10U);
  EXPECT_EQ(Json::parse(lines()[2])["event"], "found");
}

}  // namespace
}  // namespace cfm::metrics
