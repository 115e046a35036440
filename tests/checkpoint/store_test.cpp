#include "checkpoint/store.h"

#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/full_like.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>

#include "checkpoint/background_save.h"
#include "checkpoint/replicated_save.h"
#include "checkpoint/retention.h"
#include "checkpoint/unfinished.h"
#include "support/error_text.h"
#include "support/file_bytes.h"
#include "support/mpi_tests.h"
#include "support/scratch_directory.h"

namespace cfm::checkpoint {
namespace {

namespace fs = std::filesystem;
using test::error_text;
using test::has;
using test::session;

// The largest file that this process may write, for as long as this lives.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    std::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() { ::setrlimit(RLIMIT_FSIZE, &before_); }

 private:
  rlimit before_{};
};

// A run directory that all ranks share, and a state of two parts whose value tells the step.
class CheckpointStore : public testing::Test {
 protected:
  void SetUp() override {
    if (session().rank() == 0) scratch_.emplace();
    config_.run_dir = session().control().broadcast(scratch_ ? (scratch_->path() / "run").string() : "");
  }
  void TearDown() override { session().control().barrier(); }

  static std::vector<Part> parts_of(double value, int64_t elements = 100) {
    return {{"model", {{"w", at::full({elements}, value)}, {"b", at::full({3}, value)}}, {{"k", "v"}}},
            {"ema_0.9999", {{"w", at::full({elements}, -value)}, {"b", at::full({3}, -value)}}, {}}};
  }
  static Manifest manifest_of(int64_t step) {
    Manifest manifest;
    manifest.progress = {step, step * 10, step};
    return manifest;
  }
  // To the end; why it failed, empty otherwise.
  static std::string save(Store& store, int64_t step, int64_t elements = 100) {
    store.save(parts_of(static_cast<double>(step), elements), manifest_of(step));
    const std::optional<SaveOutcome> outcome = store.collect();
    return outcome ? outcome->problem : "";
  }
  // The step loaded by a new store, after checking that every tensor has its value; -1 if nothing was.
  int64_t loaded(std::function<void(const Manifest&)> accept = {}) {
    Store store(config_, session());
    const std::vector<Part> parts = parts_of(0.5);
    const std::optional<Manifest> manifest = store.load_newest(parts, accept);
    const int64_t step = manifest ? manifest->progress.step : -1;
    const double expected = manifest ? static_cast<double>(step) : 0.5;
    for (const auto& [name, tensor] : parts[0].tensors)
      EXPECT_TRUE(at::equal(tensor, at::full_like(tensor, expected))) << name;
    for (const auto& [name, tensor] : parts[1].tensors)
      EXPECT_TRUE(at::equal(tensor, at::full_like(tensor, -expected))) << name;
    return step;
  }
  fs::path dir(int64_t step) const { return config_.run_dir / "checkpoints" / step_name(step); }
  // Work of one rank that the others see when it returns.
  void on_rank_0(const std::function<void()>& work) {
    if (session().rank() == 0) work();
    session().control().barrier();
  }
  std::vector<std::string> names() {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(config_.run_dir / "checkpoints"))
      names.push_back(entry.path().filename());
    std::sort(names.begin(), names.end());
    session().control().barrier();
    return names;
  }

  std::optional<tests::ScratchDirectory> scratch_;
  StoreConfig config_;
};

using Names = std::vector<std::string>;

TEST(StoreSettings, ListAllProblemsAtOnce) { EXPECT_EQ((StoreConfig{"", -1, -2, -3}).validate().size(), 4U); }

TEST_F(CheckpointStore, LoadsNothingFromARunWithoutCheckpoints) {
  EXPECT_EQ(loaded(), -1);
  EXPECT_TRUE(committed_steps(config_.run_dir).empty());
}

TEST_F(CheckpointStore, LoadsTheNewestOnEveryRank) {
  Store store(config_, session());
  save(store, 100);
  save(store, 200);
  EXPECT_EQ(committed_steps(config_.run_dir), (std::vector<int64_t>{100, 200}));
  EXPECT_EQ(loaded(), 200);
  const Manifest manifest = read_manifest(dir(200));
  EXPECT_EQ(manifest.progress.images_seen, 2000);
  EXPECT_EQ(manifest.files.size(), 2U);
  EXPECT_EQ(read_safetensors_metadata(dir(200) / "model.safetensors"), (Metadata{{"k", "v"}}));
}

TEST_F(CheckpointStore, WritesTheSameBytesForTheSameState) {
  Store store(config_, session());
  save(store, 100);
  const std::string first = test::bytes_of(dir(100) / "model.safetensors");
  session().control().barrier();
  on_rank_0([&] { fs::remove_all(dir(100)); });
  Store again(config_, session());
  save(again, 100);
  EXPECT_EQ(test::bytes_of(dir(100) / "model.safetensors"), first);
}

TEST_F(CheckpointStore, KeepsTheLastOnesAndTheMultiples) {
  config_.keep_last = 2;
  config_.keep_every = 300;
  Store store(config_, session());
  for (int64_t step = 100; step <= 700; step += 100) save(store, step);
  session().control().barrier();
  EXPECT_EQ(names(), (Names{"step_000000300", "step_000000600", "step_000000700"}));
}

TEST_F(CheckpointStore, KeepsAllWhenAskedTo) {
  config_.keep_last = 0;
  Store store(config_, session());
  for (int64_t step = 1; step <= 4; ++step) save(store, step);
  EXPECT_EQ(committed_steps(config_.run_dir).size(), 4U);
}

TEST_F(CheckpointStore, DoesNotWriteTheLoadedStepAgainAndNeverReplacesAnothersCheckpoint) {
  Store store(config_, session());
  save(store, 100);
  const auto written = fs::last_write_time(dir(100));
  save(store, 100);
  EXPECT_EQ(fs::last_write_time(dir(100)), written);
  Store stranger(config_, session());
  EXPECT_TRUE(has(save(stranger, 100), {"step_000000100", "exists"}));
  EXPECT_EQ(loaded(), 100);
}

// What a process leaves that was killed before the rename: everything but the name.
TEST_F(CheckpointStore, IgnoresAndRemovesASaveThatWasKilledBeforeTheRename) {
  Store store(config_, session());
  save(store, 100);
  on_rank_0([&] {
    fs::copy(dir(100), unfinished_folder(dir(200), this_writer(session().host())), fs::copy_options::recursive);
    fs::copy(dir(100), dir(50).string() + ".deleted.tmp", fs::copy_options::recursive);
  });
  EXPECT_EQ(loaded(), 100);
  EXPECT_EQ(names(), Names{"step_000000100"});
}

TEST_F(CheckpointStore, LeavesASaveAloneThatAnotherJobMayHaveUnderWay) {
  Store store(config_, session());
  save(store, 100);
  const fs::path others = unfinished_folder(dir(200), {.job = "4711", .attempt = "0"});
  on_rank_0([&] { fs::copy(dir(100), others, fs::copy_options::recursive); });
  EXPECT_EQ(loaded(), 100);
  EXPECT_EQ(names(), (Names{"step_000000100", "step_000000200.4711.0.tmp"}));
  save(store, 200);
  EXPECT_EQ(loaded(), 200);
}

TEST_F(CheckpointStore, ReadsNothingOfTheStateOnceItsCopyIsMade) {
  Store store(config_, session());
  const std::vector<Part> parts = parts_of(100, 1 << 20);
  store.save(parts, manifest_of(100));
  store.await_copy();
  for (const Part& part : parts)
    for (const auto& [name, tensor] : part.tensors) tensor.zero_();
  EXPECT_EQ(store.collect()->problem, "");
  const std::vector<Part> found = parts_of(0.5, 1 << 20);
  Store(config_, session()).load_newest(found, {});
  for (const auto& [name, tensor] : found[0].tensors) EXPECT_TRUE(at::equal(tensor, at::full_like(tensor, 100)));
}

TEST_F(CheckpointStore, WritesTheVeryFilesThatTheForegroundWould) {
  Store store(config_, session());
  const std::vector<Part> parts = parts_of(100, 20'000'000);  // 80 MB: two blocks
  store.save(parts, manifest_of(100));
  ASSERT_EQ(store.collect()->problem, "");
  on_rank_0([&] {
    const Manifest manifest = read_manifest(dir(100));
    for (size_t i = 0; i < parts.size(); ++i) {
      const fs::path file = config_.run_dir / parts[i].file_name();
      const FileRecord record = write_safetensors(file, parts[i].tensors, parts[i].metadata);
      EXPECT_TRUE(test::bytes_of(dir(100) / parts[i].file_name()) == test::bytes_of(file)) << file;
      EXPECT_EQ(manifest.files[i].name, record.name);
      EXPECT_EQ(manifest.files[i].bytes, record.bytes);
      EXPECT_EQ(manifest.files[i].block_hashes, record.block_hashes);
      EXPECT_EQ(record.block_hashes.size(), 2U);
    }
  });
}

TEST_F(CheckpointStore, EndsItsSaveBeforeItGoesAway) {
  {
    Store store(config_, session());
    store.save(parts_of(100), manifest_of(100));
  }
  session().control().barrier();
  EXPECT_EQ(loaded(), 100);
}

TEST_F(CheckpointStore, OfARunThatAnotherHasTakenOverWritesAndDeletesNothing) {
  Store store(config_, session());
  save(store, 100);
  config_.ownership = [] { return Lease::State::kAnothers; };
  Store lost(config_, session());
  EXPECT_TRUE(has(error_text([&] { save(lost, 200); }), {"taken over", "step 200 is not saved"}));
  EXPECT_EQ(names(), Names{"step_000000100"});
  config_.ownership = [] { return Lease::State::kHeld; };
  save(store, 300);
  config_.keep_last = 1;
  for (const Lease::State state : {Lease::State::kAnothers, Lease::State::kGone, Lease::State::kUnseen}) {
    config_.ownership = [state] { return state; };
    on_rank_0([&] { Retention(config_).apply(); });
    EXPECT_EQ(names(), (Names{"step_000000100", "step_000000300"}));
  }
}

// A file that is gone may be put back by nobody, so the run begins anew from its last checkpoint; one that cannot be
// read may be readable at the next save.
TEST_F(CheckpointStore, WhoseLeaseIsGoneEndsTheRunAndOneThatCannotBeReadIsAFailedSave) {
  config_.ownership = [] { return Lease::State::kGone; };
  Store gone(config_, session());
  gone.save(parts_of(200), manifest_of(200));
  try {
    gone.collect();
    ADD_FAILURE() << "the save was made";
  } catch (const RunMustEnd& e) {
    EXPECT_EQ(e.exit_code(), ExitCode::kRetry);
    EXPECT_TRUE(has(e.what(), {"trainer.lease", "step 200 is not saved", "continues"})) << e.what();
  }
  config_.ownership = [] { return Lease::State::kUnseen; };
  Store unseen(config_, session());
  unseen.save(parts_of(300), manifest_of(300));
  const auto outcome = unseen.collect();
  ASSERT_TRUE(outcome);
  EXPECT_TRUE(has(outcome->problem, {"trainer.lease", "cannot be read", "step 300 is not saved"})) << outcome->problem;
  EXPECT_TRUE(names().empty());
}

using CheckpointStoreOnSeveralRanks = CheckpointStore;

// In the last bits of one number, on the last rank alone.
TEST_F(CheckpointStoreOnSeveralRanks, NamesTheRankWhoseStateDiffers) {
  const int last = session().size() - 1;
  Store store(config_, session());
  save(store, 100);
  std::vector<Part> parts = parts_of(200);
  if (session().rank() == last) parts[1].tensors[0].second[7] = -200.00002;
  store.save(parts, manifest_of(200));
  try {
    store.collect();
    ADD_FAILURE() << "the save was made";
  } catch (const RunMustEnd& e) {
    EXPECT_EQ(e.exit_code(), ExitCode::kRetry);
    const std::string named = "rank " + std::to_string(last) + " on host " + session().host() + " in ema_0.9999";
    EXPECT_TRUE(has(e.what(), {"step 200", "no longer hold the same state", named.c_str()}));
    EXPECT_FALSE(has(e.what(), {"model.safetensors"}));
  }
  EXPECT_EQ(names(), Names{"step_000000100"});
}

class DamagedCheckpoint : public CheckpointStore,
                          public testing::WithParamInterface<std::pair<const char*, const char*>> {};

TEST_P(DamagedCheckpoint, IsSetAsideAndTheOneBeforeIsLoaded) {
  Store store(config_, session());
  save(store, 100);
  save(store, 200);
  session().control().barrier();
  on_rank_0([&] {
    const auto [file, damage] = GetParam();
    const fs::path path = dir(200) / file;
    const std::string what = damage;
    if (what == "flipped") test::flip_bit(path, fs::file_size(path) - 10, 3);
    if (what == "truncated") fs::resize_file(path, fs::file_size(path) / 2);
    if (what == "empty") fs::resize_file(path, 0);
    if (what == "garbage") test::put_bytes(path, std::string(fs::file_size(path), '\xa5'));
    if (what == "missing") fs::remove(path);
  });
  EXPECT_EQ(loaded(), 100);
  EXPECT_EQ(names(), (Names{"step_000000100", "step_000000200.damaged"}));
  Store after(config_, session());
  after.load_newest(parts_of(0), {});
  save(after, 200);
  EXPECT_EQ(loaded(), 200);
}

INSTANTIATE_TEST_SUITE_P(
    EveryFile, DamagedCheckpoint,
    testing::Values(std::pair("model.safetensors", "flipped"), std::pair("model.safetensors", "truncated"),
                    std::pair("ema_0.9999.safetensors", "missing"), std::pair("ema_0.9999.safetensors", "garbage"),
                    std::pair("manifest.json", "flipped"), std::pair("manifest.json", "truncated"),
                    std::pair("manifest.json", "empty"), std::pair("manifest.json", "missing")),
    [](const auto& test) { return std::string(test.param.first).substr(0, 3) + "_" + test.param.second; });

class UnreadableCheckpoint : public CheckpointStore, public testing::WithParamInterface<const char*> {};

// A link to itself: the system does not read it, and says nothing of what is there.
TEST_P(UnreadableCheckpoint, IsNotDamagedStaysInItsPlaceAndIsLoadedOnceItCanBeRead) {
  Store store(config_, session());
  save(store, 100);
  save(store, 200);
  session().control().barrier();
  const fs::path file = dir(200) / GetParam(), aside = config_.run_dir / "aside";
  on_rank_0([&] {
    fs::rename(file, aside);
    fs::create_symlink(file, file);
  });
  for (int attempt = 0; attempt < 2; ++attempt) {
    const std::string text = error_text([&] { loaded(); }, ExitCode::kRetry);
    EXPECT_TRUE(has(text, {file.c_str(), "symbolic links", "not taken for damage", "tries again"}));
  }
  EXPECT_EQ(names(), (Names{"step_000000100", "step_000000200"}));
  on_rank_0([&] { fs::rename(aside, file); });
  EXPECT_EQ(loaded(), 200);
}

INSTANTIATE_TEST_SUITE_P(EveryFile, UnreadableCheckpoint,
                         testing::Values("manifest.json", "model.safetensors", "ema_0.9999.safetensors"),
                         [](const auto& test) { return std::string(test.param).substr(0, 3); });

// Its folder is a copy of the others': as a machine whose disk or memory errs sees what they see.
TEST_F(CheckpointStoreOnSeveralRanks, ARankThatReadsOtherBytesThanRankZeroIsNamedAndNothingIsSetAside) {
  const int last = session().size() - 1;
  Store store(config_, session());
  save(store, 100);
  save(store, 200);
  session().control().barrier();
  const fs::path shared = config_.run_dir, copy = shared.string() + "-copy";
  on_rank_0([&] {
    fs::copy(shared, copy, fs::copy_options::recursive);
    test::flip_bit(copy / "checkpoints/step_000000200/ema_0.9999.safetensors", 300);
  });
  if (session().rank() == last) config_.run_dir = copy;
  const std::string rank = "rank " + std::to_string(last) + " on host " + session().host();
  EXPECT_TRUE(has(error_text([&] { loaded(); }, ExitCode::kRetry),
                  {rank.c_str(), copy.c_str(), "ema_0.9999.safetensors", "rank 0 has read it whole"}));
  config_.run_dir = shared;
  EXPECT_EQ(names(), (Names{"step_000000100", "step_000000200"}));
  EXPECT_EQ(loaded(), 200);
}

TEST_F(CheckpointStore, SaysWhatItCannotDeleteBehindASaveThatIsMadeAllTheSame) {
  config_.keep_last = 1;
  on_rank_0([&] { scratch_->write("run/readers", "a file where the folder should be"); });
  Store store(config_, session());
  EXPECT_EQ(save(store, 100), "");
  store.save(parts_of(200), manifest_of(200));
  const SaveOutcome outcome = store.collect().value();
  EXPECT_EQ(outcome.problem, "");
  EXPECT_EQ(outcome.undeleted.size(), session().rank() == 0 ? 1U : 0U);
  for (const std::string& problem : outcome.undeleted) EXPECT_TRUE(has(problem, {"not deleted", "run/readers"}));
  EXPECT_EQ(names(), (Names{"step_000000100", "step_000000200"}));
  on_rank_0([&] { fs::remove(config_.run_dir / "readers"); });
  EXPECT_EQ(save(store, 300), "");
  session().control().barrier();
  EXPECT_EQ(names(), Names{"step_000000300"});
}

TEST_F(CheckpointStore, NeverStartsFromNothingWhenOnlyDamagedCheckpointsAreLeft) {
  Store store(config_, session());
  save(store, 100);
  session().control().barrier();
  on_rank_0([&] { test::flip_bit(dir(100) / "model.safetensors", 100); });
  for (int attempt = 0; attempt < 2; ++attempt) {
    EXPECT_TRUE(has(error_text([&] { loaded(); }), {"step_000000100.damaged", "start this run again"}));
  }
}

TEST_F(CheckpointStore, ARefusalIsNotDamage) {
  Store store(config_, session());
  save(store, 100);
  const std::string text = error_text([&] { loaded([](const Manifest&) { throw Error("--seed differs"); }); });
  EXPECT_EQ(text, "--seed differs");
  EXPECT_EQ(names(), Names{"step_000000100"});
}

TEST_F(CheckpointStore, ARefusalOfOneRankIsOneOfAllRanks) {
  Store store(config_, session());
  save(store, 100);
  const int last = session().size() - 1;
  EXPECT_TRUE(
      has(error_text([&] { loaded([&](const Manifest&) { check(session().rank() != last, "the last rank minds"); }); }),
          {"the last rank minds"}));
}

TEST_F(CheckpointStore, NamesAPartThatTheCheckpointDoesNotHold) {
  Store store(config_, session());
  save(store, 100);
  std::vector<Part> parts = parts_of(0);
  parts[1].name = "ema_0.5";
  Store other(config_, session());
  EXPECT_TRUE(has(error_text([&] { other.load_newest(parts, {}); }), {"step_000000100", "ema_0.5.safetensors"}));
  EXPECT_EQ(names(), Names{"step_000000100"});
}

TEST_F(CheckpointStore, NamesTensorsOfAnotherShape) {
  Store store(config_, session());
  save(store, 100);
  Store other(config_, session());
  EXPECT_TRUE(has(error_text([&] { other.load_newest(parts_of(0, 99), {}); }), {"'w' is [100], expected [99]"}));
}

// A full disk, as far as a file notices it: write(2) fails half-way.
TEST_F(CheckpointStore, AFailedSaveLeavesEarlierCheckpointsAndNothingElse) {
  Store store(config_, session());
  save(store, 100);
  {
    const FileSizeLimit limit(1 << 20);
    EXPECT_TRUE(has(save(store, 200, 1 << 20), {"step_000000200.", ".0.tmp/model.safetensors", "File too large"}));
  }
  EXPECT_EQ(names(), Names{"step_000000100"});
  EXPECT_EQ(loaded(), 100);
  EXPECT_EQ(save(store, 200), "");
  EXPECT_EQ(loaded(), 200);
}

TEST_F(CheckpointStore, AFolderThatCannotBeMadeFailsTheSaveOnAllRanks) {
  on_rank_0([&] { scratch_->write("run/checkpoints", "a file where the folder should be"); });
  Store store(config_, session());
  EXPECT_TRUE(has(save(store, 100), {"checkpoints"}));
}

}  // namespace
}  // namespace cfm::checkpoint

int main(int argc, char** argv) { return cfm::test::run_mpi_tests(argc, argv); }
