// --precision and --channels_last change how fast a step is and its last bits, not what is learnt.

#include <gtest/gtest.h>

#include <cmath>

#include "support/training_run.h"

namespace cfm::test {
namespace {

class Precision : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    data_ = digit_shards(folder_->path(), "train", 0, 200);
    fp32_ = losses_of("fp32", {});
  }
  static void TearDownTestSuite() { delete folder_; }

  static std::map<long, double> losses_of(const std::string& name, const std::vector<std::string>& more) {
    const Finished finished = run(mpirun(2) + small_run(data_, folder_->path() / name) +
                                      std::vector<std::string>{"--steps=30", "--lr=1e-3", "--zero_init=false"} + more,
                                  folder_->path() / "log");
    EXPECT_EQ(finished.exit_code, 0) << finished.output;
    return losses(folder_->path() / name);
  }
  // The largest relative difference from the losses in fp32.
  static double difference(const std::map<long, double>& found) {
    EXPECT_EQ(found.size(), 30U);
    double worst = 0;
    for (const auto& [step, loss] : fp32_) worst = std::max(worst, std::abs(found.at(step) / loss - 1));
    return worst;
  }

  static inline TemporaryFolder* folder_;
  static inline std::string data_;
  static inline std::map<long, double> fp32_;
};

TEST_F(Precision, BFloat16LearnsAsFloat32DoesButIsNotFloat32) {
  const std::map<long, double> found = losses_of("bf16", {"--precision=bf16"});
  EXPECT_LT(difference(found), 0.02);
  EXPECT_GT(difference(found), 1e-5) << "this is not bfloat16";
  EXPECT_LT(fp32_.at(30), 0.9 * fp32_.at(1)) << "the network does not learn";
}

TEST_F(Precision, ChannelsLastGivesTheSameLossesUpToRounding) {
  EXPECT_LT(difference(losses_of("last", {"--channels_last"})), 1e-4);
  EXPECT_LT(difference(losses_of("last_bf16", {"--channels_last", "--precision=bf16"})), 0.02);
}

}  // namespace
}  // namespace cfm::test
