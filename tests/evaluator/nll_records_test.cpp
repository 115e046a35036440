#include "evaluator/nll_records.h"

#include <gtest/gtest.h>

#include "support/error_text.h"
#include "support/file_bytes.h"
#include "support/scratch_directory.h"

namespace cfm::evaluator {
namespace {

const flow::DrawDensity kFirst{.image = 7, .k = 0, .log_p = -2048.0123456789012, .nfe = 98};
const flow::DrawDensity kSecond{.image = 49999, .k = 14, .log_p = 1.0 / 3, .nfe = 140};

bool operator==(const flow::DrawDensity& a, const flow::DrawDensity& b) {
  return a.image == b.image && a.k == b.k && a.log_p == b.log_p && a.nfe == b.nfe;
}

TEST(NllRecords, ComeBackBitForBit) {
  const KeptRecords kept = parse_records(record_line(kFirst, "key") + record_line(kSecond, "key"), "key");
  ASSERT_EQ(kept.records.size(), 2U);
  EXPECT_TRUE(kept.records.at({7, 0}) == kFirst);
  EXPECT_TRUE(kept.records.at({49999, 14}) == kSecond);
  EXPECT_EQ(kept.damaged_lines, 0);
}

TEST(NllRecords, NoTornOrChangedLineIsTaken) {
  const std::string whole = record_line(kFirst, "key"), next = record_line(kSecond, "key");
  for (size_t cut = 1; cut < whole.size(); ++cut) {  // a crash, and a start that goes on in another file
    EXPECT_TRUE(parse_records(whole.substr(0, cut), "key").records.empty()) << cut;
    EXPECT_EQ(parse_records(whole.substr(0, cut), "key").damaged_lines, 1);
  }
  for (size_t at = 0; at < whole.size(); ++at) {
    std::string changed = whole + next;
    changed[at] = static_cast<char>(changed[at] ^ 1);
    EXPECT_FALSE(parse_records(changed, "key").records.contains({7, 0})) << at;
  }
}

TEST(NllRecords, OfOtherSettingsAreNotTaken) {
  const KeptRecords kept = parse_records(record_line(kFirst, "key"), "another");
  EXPECT_TRUE(kept.records.empty());
  EXPECT_EQ(kept.damaged_lines, 1);
}

TEST(NllRecords, AreGatheredFromTheFilesOfAllRanksAndStarts) {
  const tests::ScratchDirectory folder;
  EXPECT_TRUE(read_records(folder / "none", "key").records.empty());
  RecordFile one(folder / "first-rank0", "key"), other(folder / "second-rank3", "key");
  one.append(kFirst);
  EXPECT_EQ(read_records(folder.path(), "key").records.size(), 1U);  // while it is still open
  other.append(kSecond);
  other.append(kFirst);  // made twice: the same numbers
  folder.write("settings.json", "{}");
  EXPECT_EQ(read_records(folder.path(), "key").records.size(), 2U);
  EXPECT_EQ(one.lines(), record_line(kFirst, "key"));
  EXPECT_EQ(test::bytes_of(folder / "second-rank3.records"), other.lines());
}

TEST(NllRecords, AFileIsNeverSharedBetweenTwoWriters) {
  const tests::ScratchDirectory folder;
  const RecordFile mine(folder / "start-rank0", "key");
  EXPECT_TRUE(test::has(test::error_text([&] { RecordFile(folder / "start-rank0", "key"); }, ExitCode::kRetry),
                        {"start-rank0.records", "exists"}));
}

}  // namespace
}  // namespace cfm::evaluator
