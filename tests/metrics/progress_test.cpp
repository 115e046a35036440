#include "metrics/progress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <unistd.h>

#include <array>
#include <limits>

namespace cfm::metrics {
namespace {

using ::testing::HasSubstr;

const ProgressNumbers kNumbers{.step = 1200,
                               .steps = 5000,
                               .loss = 0.12341,
                               .images_per_second = 1234.4,
                               .data_wait_share = 0.003,
                               .learning_rate = 5e-4,
                               .gradient_norm = 0.56,
                               .eta_seconds = 754};

// Standard output is a terminal of the given width while this lives; `written` is what arrived there.
class TerminalOutput {
 public:
  explicit TerminalOutput(unsigned short columns) {
    const winsize size{24, columns, 0, 0};
    if (::openpty(&ours_, &theirs_, nullptr, nullptr, &size) != 0) throw std::runtime_error("openpty");
    ::fflush(stdout);
    saved_ = ::dup(STDOUT_FILENO);
    ::dup2(theirs_, STDOUT_FILENO);
  }
  ~TerminalOutput() {
    ::dup2(saved_, STDOUT_FILENO);
    for (const int descriptor : {ours_, theirs_, saved_}) ::close(descriptor);
  }
  TerminalOutput(const TerminalOutput&) = delete;
  TerminalOutput& operator=(const TerminalOutput&) = delete;

  // A terminal hands over what was written a moment later: waits for `size` bytes, and takes what more there is.
  std::string written(size_t size) const {
    std::string all;
    pollfd ready{ours_, POLLIN, 0};
    while (::poll(&ready, 1, all.size() < size ? 5000 : 20) > 0) {
      std::array<char, 4096> bytes{};
      const ssize_t count = ::read(ours_, bytes.data(), bytes.size());
      if (count <= 0) break;
      all.append(bytes.data(), static_cast<size_t>(count));
    }
    return all;
  }

 private:
  int ours_ = -1, theirs_ = -1, saved_ = -1;
};

TEST(ProgressText, IsOneLineWithUnits) {
  EXPECT_EQ(progress_text(kNumbers),
            "step  1200/5000  24.0 %  loss 0.1234  grad 0.56  lr 5.0e-04  1,234 img/s  data wait 0.3 %  ETA 00:12:34");
}

TEST(ProgressText, KeepsItsColumnsWhileStepsGrow) {
  ProgressNumbers early = kNumbers;
  early.step = 7;
  EXPECT_THAT(progress_text(early), testing::StartsWith("step     7/5000   0.1 %  loss"));
}

TEST(ProgressText, ShowsNumbersThatAreNotFinite) {
  ProgressNumbers broken = kNumbers;
  broken.loss = std::nan("");
  broken.eta_seconds = std::numeric_limits<double>::infinity();
  broken.images_per_second = std::nan("");
  broken.steps = 0;
  EXPECT_THAT(progress_text(broken),
              testing::AllOf(HasSubstr("loss nan"), HasSubstr("ETA --:--:--"), HasSubstr(" - img/s")));
}

TEST(ProgressText, SeparatesThousands) {
  for (const auto& [rate, text] : std::vector<std::pair<double, std::string>>{{0.25, " 0.2 img/s"},
                                                                              {9.94, " 9.9 img/s"},
                                                                              {9.96, " 10 img/s"},
                                                                              {999, " 999 img/s"},
                                                                              {1000, " 1,000 img/s"},
                                                                              {1234567, " 1,234,567 img/s"}}) {
    ProgressNumbers numbers = kNumbers;
    numbers.images_per_second = rate;
    EXPECT_THAT(progress_text(numbers), HasSubstr(text));
  }
}

TEST(DurationText, HasDaysOnlyWhereThereAreAny) {
  EXPECT_EQ(duration_text(0), "00:00:00");
  EXPECT_EQ(duration_text(754.4), "00:12:34");
  EXPECT_EQ(duration_text(86399.4), "23:59:59");
  EXPECT_EQ(duration_text(86399.6), "1d 00:00:00");
  EXPECT_EQ(duration_text(86400 + 2 * 3600 + 3 * 60 + 4), "1d 02:03:04");
  EXPECT_EQ(duration_text(-1), "--:--:--");
  EXPECT_EQ(duration_text(std::nan("")), "--:--:--");
}

TEST(ProgressLine, InALogFileIsAPlainLineWhereOneIsDue) {
  testing::internal::CaptureStdout();
  {
    ProgressLine line(true);
    line.show(kNumbers, false);
    line.show(kNumbers, true);
    line.interrupt();
  }
  EXPECT_EQ(testing::internal::GetCapturedStdout(), progress_text(kNumbers) + "\n");
}

TEST(ProgressLine, OnATerminalIsRewrittenInPlaceAndEndsWithANewline) {
  const std::string shown = "\r" + progress_text(kNumbers) + "\x1b[K";
  const std::string end = "\r\n";  // the terminal makes "\r\n" of "\n"
  const std::string expected = shown + shown + end + shown + end;
  std::string written;
  {
    const TerminalOutput terminal(200);
    {
      ProgressLine line(true);
      line.show(kNumbers, false);
      line.show(kNumbers, true);
      line.interrupt();
      line.interrupt();
      line.show(kNumbers, true);
    }
    written = terminal.written(expected.size());
  }
  EXPECT_EQ(written, expected);
}

TEST(ProgressLine, IsCutToTheTerminalSoThatItNeverWraps) {
  const std::string expected = "\r" + progress_text(kNumbers).substr(0, 39) + "\x1b[K";
  std::string written;
  {
    const TerminalOutput terminal(40);
    ProgressLine line(true);
    line.show(kNumbers, false);
    written = terminal.written(expected.size());
  }
  EXPECT_EQ(written, expected);
}

TEST(ProgressLine, OnOtherRanksIsSilent) {
  testing::internal::CaptureStdout();
  {
    ProgressLine line(false);
    line.show(kNumbers, true);
  }
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "");
}

}  // namespace
}  // namespace cfm::metrics
