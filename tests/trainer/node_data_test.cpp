// Training on node-local data: the order of samples follows from the groups, not from nodes, ranks or copies.

#include <gtest/gtest.h>

#include <fstream>

#include "base/durable_file.h"
#include "support/training_run.h"

namespace cfm::test {
namespace {

using Flags = std::vector<std::string>;

class NodeData : public testing::Test {
 protected:
  NodeData() {
    const Finished packed = run({program("cfm_pack"), "--source=" CFM_SOURCE_DIR "/configs/digits/digits.npz",
                                 "--out=" + path("data"), "--grey_levels=17", "--count=300", "--shards=4"},
                                path("pack.log"));
    EXPECT_EQ(packed.exit_code, 0) << packed.output;
  }
  std::string path(const std::string& name) const { return (folder_.path() / name).string(); }
  Finished train(const std::string& name, int ranks, const Flags& more) const {
    Flags flags = small_run(path("data/train"), path(name));
    std::erase_if(flags, [](const std::string& flag) { return flag.starts_with("--global_batch="); });
    return run(mpirun(ranks) + flags + Flags{"--global_batch=24", "--lr=1e-3"} + more, path("log"));
  }
  TemporaryFolder folder_;
};

void expect_same_losses(const std::map<long, double>& found, const std::map<long, double>& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (const auto& [step, loss] : expected) EXPECT_NEAR(found.at(step) / loss, 1, 1e-5) << "step " << step;
}

TEST_F(NodeData, FourGroupsGiveTheSameLossesOnOneTwoAndFourNodesStagedOrNot) {
  ASSERT_EQ(train("one", 1, {"--steps=15", "--data_groups=4"}).exit_code, 0);
  const auto expected = losses(path("one"));
  const Finished two =
      train("two", 4, {"--steps=15", "--data_groups=4", "--ranks_per_node=2", "--stage_dir=" + path("local")});
  ASSERT_EQ(two.exit_code, 0) << two.output;
  EXPECT_NE(two.output.find("groups     4 on 2 nodes"), std::string::npos) << two.output;
  EXPECT_NE(two.output.find("staged in " + path("local")), std::string::npos) << two.output;
  EXPECT_TRUE(std::filesystem::is_empty(path("local"))) << "copies are left behind";
  expect_same_losses(losses(path("two")), expected);
  const Finished four = train("four", 4, {"--steps=15", "--data_groups=4", "--ranks_per_node=1", "--data_mode=pread"});
  ASSERT_EQ(four.exit_code, 0) << four.output;
  expect_same_losses(losses(path("four")), expected);
  // And another order than without groups.
  ASSERT_EQ(train("plain", 1, {"--steps=15"}).exit_code, 0);
  EXPECT_GT(std::abs(losses(path("plain")).at(1) / expected.at(1) - 1), 1e-4);
}

TEST_F(NodeData, ARunKeepsItsGroupsWhenItGoesOnWithOtherNodes) {
  ASSERT_EQ(train("whole", 2, {"--steps=20", "--data_groups=4"}).exit_code, 0);
  ASSERT_EQ(train("parts", 2, {"--steps=8", "--data_groups=4", "--ranks_per_node=1"}).exit_code, 0);
  const Finished rest = train("parts", 4, {"--steps=20", "--ranks_per_node=1"});  // no flag: as the checkpoint says
  ASSERT_EQ(rest.exit_code, 0) << rest.output;
  EXPECT_NE(rest.output.find("groups     4 on 4 nodes"), std::string::npos) << rest.output;
  expect_same_losses(losses(path("parts")), losses(path("whole")));

  const Finished changed = train("parts", 1, {"--steps=30", "--data_groups=2"});
  EXPECT_EQ(changed.exit_code, 2);
  EXPECT_NE(changed.output.find("--data_groups=2: the run in"), std::string::npos) << changed.output;
  EXPECT_NE(changed.output.find("has 4"), std::string::npos) << changed.output;
}

TEST_F(NodeData, GroupsThatCannotBeDealtAreRefusedWithTheLegalValues) {
  const Finished nodes = train("a", 3, {"--steps=2", "--data_groups=4", "--ranks_per_node=1"});
  EXPECT_EQ(nodes.exit_code, 2);
  EXPECT_NE(nodes.output.find("Legal numbers of nodes: 1, 2, 4."), std::string::npos) << nodes.output;
  const Finished batch = train("b", 1, {"--steps=2", "--data_groups=5"});
  EXPECT_EQ(batch.exit_code, 2);
  EXPECT_NE(batch.output.find("legal for 1 node: 1, 2, 3, 4, 6, 8, 12, 24."), std::string::npos) << batch.output;
  const Finished both = train("d", 2, {"--steps=2", "--data_groups=10", "--ranks_per_node=1"});
  EXPECT_EQ(both.exit_code, 2);
  EXPECT_NE(both.output.find("legal for 2 nodes: 2, 4, 6, 8, 12, 24."), std::string::npos) << both.output;
  const Finished few = train("e", 2, {"--steps=2", "--ranks_per_node=3"});
  EXPECT_EQ(few.exit_code, 2);
  EXPECT_NE(few.output.find("--ranks_per_node=3: the job has 2 ranks"), std::string::npos) << few.output;
  const Finished uneven = train("c", 3, {"--steps=2", "--data_groups=4", "--ranks_per_node=2"});
  EXPECT_EQ(uneven.exit_code, 2);
  EXPECT_NE(uneven.output.find("1 to 2 ranks"), std::string::npos) << uneven.output;
  EXPECT_LT(nodes.seconds + batch.seconds + uneven.seconds, 60);
}

TEST_F(NodeData, AResumeOnOtherDataIsRefusedAndSaysWhetherTheImagesAreTheSame) {
  ASSERT_EQ(train("run", 1, {"--steps=3"}).exit_code, 0);
  const auto pack_again = [&](const Flags& more) {
    const Finished packed = run(Flags{program("cfm_pack"), "--source=" CFM_SOURCE_DIR "/configs/digits/digits.npz",
                                      "--out=" + path("data"), "--grey_levels=17", "--overwrite"} +
                                    more,
                                path("pack.log"));
    ASSERT_EQ(packed.exit_code, 0) << packed.output;
  };
  pack_again({"--count=300", "--shards=3"});
  const Finished packed_anew = train("run", 1, {"--steps=5"});
  EXPECT_EQ(packed_anew.exit_code, 2);
  EXPECT_NE(packed_anew.output.find("the same images in another packing"), std::string::npos) << packed_anew.output;
  pack_again({"--count=299", "--shards=3"});
  const Finished other = train("run", 1, {"--steps=5"});
  EXPECT_EQ(other.exit_code, 2);
  EXPECT_NE(other.output.find("other data"), std::string::npos) << other.output;
  const Finished allowed = train("run", 1, {"--steps=5", "--allow_other_data"});
  EXPECT_EQ(allowed.exit_code, 0) << allowed.output;
  EXPECT_NE(allowed.output.find("--allow_other_data: the run goes on with other data"), std::string::npos)
      << allowed.output;
}

TEST_F(NodeData, AFlippedBitIsFoundByVerifyData) {
  const std::string file = path("data/train/train-00002-of-00004.h5");
  std::string bytes = read_file(file);
  bytes[8192 + 1000] ^= 1;  // among the images: they begin at 8 KiB
  std::ofstream(file, std::ios::binary) << bytes;
  const Finished verified = train("a", 2, {"--steps=2", "--verify_data"});
  EXPECT_EQ(verified.exit_code, 2);
  EXPECT_NE(verified.output.find("train-00002-of-00004.h5 is damaged"), std::string::npos) << verified.output;
}

}  // namespace
}  // namespace cfm::test
