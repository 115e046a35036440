// Ranks of a node share images in memory; nodes read their own groups' files alone. Nodes are played by ranks.

#include <gtest/gtest.h>

#include <fstream>
#include <set>

#include "data/dataset.h"
#include "parallel/mpi_session.h"
#include "support/data_support.h"
#include "support/mpi_tests.h"
#include "support/shard_files.h"

namespace cfm {
namespace {

using data::Dataset;
using data::ImageShape;
using test::session;

constexpr ImageShape kShape{3, 16, 16};
constexpr int kShards = 4;
constexpr int64_t kOfShard = 250;

// `ranks_per_node` of this session's ranks play a node.
Ranks played(int ranks_per_node) {
  Ranks ranks;
  ranks.rank = session().rank();
  ranks.size = session().size();
  ranks.node = ranks.rank / ranks_per_node;
  ranks.nodes = (ranks.size + ranks_per_node - 1) / ranks_per_node;
  ranks.node_rank = ranks.rank % ranks_per_node;
  ranks.node_size = std::min(ranks_per_node, ranks.size - ranks.node * ranks_per_node);
  ranks.job = session().control().broadcast(std::to_string(::getpid()));
  ranks.together = [](const std::function<void()>& work) { parallel::agree_on(session(), work); };
  ranks.from_rank0 = [](const std::string& text) { return session().control().broadcast(text); };
  return ranks;
}

// Shards of rank 0's scratch folder, for all ranks.
class SharedFolder {
 public:
  SharedFolder() : path_(session().control().broadcast(own_.path().string())) {
    if (session().rank() == 0)
      for (int i = 0; i < kShards; ++i)
        tests::write_shard(path_ / ("train-" + std::to_string(i) + ".h5"), kShape, kOfShard, i * kOfShard);
    session().control().barrier();
  }
  ~SharedFolder() { session().control().barrier(); }
  const std::filesystem::path& path() const { return path_; }

 private:
  tests::ScratchDirectory own_;
  std::filesystem::path path_;
};

void expect_images(const Dataset& dataset, int64_t first, int64_t last) {
  std::vector<uint8_t> pixels(static_cast<size_t>(kShape.bytes()));
  for (int64_t i = first; i < last; ++i) {
    dataset.read(i, pixels);
    ASSERT_EQ(pixels, tests::pixels_of(i, kShape)) << "image " << i << " on rank " << session().rank();
  }
}

// kB of this process's memory of one kind: "RssAnon:", "RssShmem:".
int64_t resident(const std::string& kind) {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    int64_t kilobytes = 0;
    if (word == kind && status >> kilobytes) return kilobytes;
  }
  return -1;
}

TEST(NodeSharing, RanksOfANodeReadTheSameImagesFromMemoryThatIsNotTheirOwn) {
  const SharedFolder folder;
  const int64_t before = resident("RssAnon:");
  const Dataset dataset = Dataset::open(folder.path(), {.data_mode = "ram", .ranks = played(session().size())});
  expect_images(dataset, 0, kShards * kOfShard);
  if (session().size() > 1) {
    const int64_t kilobytes = kShards * kOfShard * kShape.bytes() / 1024;  // 750
    EXPECT_GE(resident("RssShmem:"), kilobytes);
    EXPECT_LT(resident("RssAnon:") - before, 20'000);
    EXPECT_NE(dataset.access().find("shared by a node's"), std::string::npos) << dataset.access();
  }
  // Nothing stays behind, not even while the job runs: its name is gone.
  session().control().barrier();
  const auto left = tests::run_program("ls /dev/shm | grep -c '^cfm-" + played(1).job + "-'");
  EXPECT_EQ(left.output, "0\n");
}

TEST(NodeSharing, ANodeOpensItsOwnGroupsFilesAlone) {
  const SharedFolder folder;
  const auto ranks = played(1);
  if (kShards % ranks.nodes != 0) return;  // three ranks: not a number of nodes that four groups allow
  for (const std::string mode : {"ram", "pread"}) {
    const Dataset dataset = Dataset::open(folder.path(), {.data_mode = mode, .groups = kShards, .ranks = ranks});
    const int64_t of_node = kShards * kOfShard / ranks.nodes;
    EXPECT_EQ(dataset.readable().first, ranks.node * of_node);
    expect_images(dataset, ranks.node * of_node, (ranks.node + 1) * of_node);
    std::vector<uint8_t> pixels(static_cast<size_t>(kShape.bytes()));
    if (ranks.nodes > 1) {
      const int64_t others = (ranks.node + 1) % ranks.nodes * of_node;
      tests::expect_refusal([&] { dataset.read(others, pixels); }, {"another node's", std::to_string(others)});
    }
    // By what this process holds open.
    std::set<std::string> open;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
      std::error_code gone;
      const std::string file = std::filesystem::read_symlink(entry.path(), gone).filename().string();
      if (file.starts_with("train-")) open.insert(file);
    }
    EXPECT_EQ(open.size(), static_cast<size_t>(kShards / ranks.nodes)) << testing::PrintToString(open);
    session().control().barrier();
  }
}

TEST(NodeSharing, ANodeStagesItsOwnFilesAndRemovesThem) {
  const SharedFolder folder;
  const auto ranks = played(1);
  if (kShards % ranks.nodes != 0) return;
  const std::filesystem::path stage = folder.path() / "local";
  {
    const Dataset dataset = Dataset::open(folder.path(), {.groups = kShards, .stage_dir = stage, .ranks = ranks});
    EXPECT_NE(dataset.access().find("staged in"), std::string::npos) << dataset.access();
    int64_t copies = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(stage))
      if (entry.path().extension() == ".h5" &&
          entry.path().parent_path().string().ends_with("node" + std::to_string(ranks.node)))
        ++copies;
    EXPECT_EQ(copies, kShards / ranks.nodes);
    const auto own = dataset.readable();
    expect_images(dataset, own.first, own.last);
    session().control().barrier();
  }
  session().control().barrier();
  EXPECT_TRUE(std::filesystem::is_empty(stage));
}

TEST(NodeSharing, ASecondJobInTheSameStageFolderIsRefusedAndTakesNothingAway) {
  const SharedFolder folder;
  const auto ranks = played(session().size());
  const std::filesystem::path stage = folder.path() / "local";
  const auto copies = [&stage] {
    int64_t count = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(stage))
      count += entry.path().extension() == ".h5" ? 1 : 0;
    return count;
  };
  {
    const Dataset first = Dataset::open(folder.path(), {.stage_dir = stage, .ranks = ranks});
    tests::expect_refusal([&] { Dataset::open(folder.path(), {.stage_dir = stage, .ranks = ranks}); },
                          {stage.string(), "another job stages the same data there"}, ExitCode::kRetry);
    EXPECT_EQ(copies(), kShards);
    expect_images(first, 0, kShards * kOfShard);
    session().control().barrier();
  }
  session().control().barrier();
  EXPECT_TRUE(std::filesystem::is_empty(stage));
  session().control().barrier();
  Dataset::open(folder.path(), {.stage_dir = stage, .ranks = ranks});  // it is free again
}

TEST(NodeSharing, ACopyThatAnEarlierJobLeftDamagedIsMadeAgain) {
  const SharedFolder folder;
  const auto ranks = played(session().size());
  const std::filesystem::path stage = folder.path() / "local";
  const std::string files = Dataset::open(folder.path(), {.ranks = ranks}).fingerprint().files;
  const std::filesystem::path copies = stage / ("cfm-" + files.substr(0, 12) + "-node0");
  if (ranks.rank == 0) {
    std::filesystem::create_directories(copies);
    for (int i = 0; i < kShards; ++i) {
      const std::string name = "train-" + std::to_string(i) + ".h5";
      std::string bytes = tests::bytes_of(folder.path() / name);
      if (i == 1) bytes[bytes.size() / 2] ^= 1;
      if (i == 2) bytes.resize(bytes.size() / 2);
      tests::write_bytes(copies / name, bytes);
    }
  }
  session().control().barrier();
  const Dataset dataset = Dataset::open(folder.path(), {.stage_dir = stage, .ranks = ranks});
  expect_images(dataset, 0, kShards * kOfShard);
  session().control().barrier();
}

TEST(NodeSharing, AFaultThatOneRankMeetsIsEveryRanks) {
  const SharedFolder folder;
  if (session().rank() == 0) std::filesystem::resize_file(folder.path() / "train-2.h5", 5000);
  session().control().barrier();
  tests::expect_refusal([&] { Dataset::open(folder.path(), {.ranks = played(1)}); }, {"train-2.h5", "truncated"});
}

TEST(NodeSharing, MemoryThatIsNotThereIsRefusedAtOnce) {
  tests::expect_refusal([] { data::ImageMemory(uint64_t{1} << 50, played(session().size())); },
                        {"1125899.91 GB", "--data_mode=pread"});
}

}  // namespace
}  // namespace cfm

int main(int argc, char** argv) { return cfm::test::run_mpi_tests(argc, argv); }
