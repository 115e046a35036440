// libhdf5 in a process of its own: what it says is the same, and what kills it there does not reach us.

#include "data/hdf5_process.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <random>

#include "support/data_support.h"
#include "support/error_text.h"
#include "support/shard_files.h"

namespace cfm {
namespace {

using data::FileFacts;
using data::Hdf5Process;
using data::ImageShape;
using tests::ScratchDirectory;

constexpr ImageShape kShape{3, 4, 5};

TEST(Hdf5Process, SaysOfAFileWhatLibhdf5SaysHere) {
  const ScratchDirectory folder;
  tests::write_shard(folder / "a.h5", kShape, 2100, 0,
                     {{"source", "Zürich"}, {"label_map", std::string(100'000, 'x')}});
  Hdf5Process hdf5;
  const FileFacts there = hdf5.facts(folder / "a.h5"), here = data::read_facts(folder / "a.h5");
  EXPECT_EQ(data::to_bytes(there), data::to_bytes(here));
  EXPECT_EQ(there.labels.size(), 2100U);
  EXPECT_EQ(there.attributes.at("source"), "Zürich");
  EXPECT_EQ(there.offset, here.offset);
}

TEST(Hdf5Process, HandsOnTheErrorsOfTheOtherSide) {
  const ScratchDirectory folder;
  tests::write_bytes(folder / "text.h5", "hello, world");
  Hdf5Process hdf5;
  tests::expect_refusal([&] { hdf5.facts(folder / "text.h5"); }, {"text.h5", "not an HDF5 file"});
  tests::expect_refusal([&] { hdf5.facts(folder / "none.h5"); }, {"none.h5", "No such file"});
}

// The oldest child: this process's is the keeper, the keeper's only ones are the workers.
pid_t child_of(pid_t parent) {
  const tests::ProgramResult result = tests::run_program("pgrep -P " + std::to_string(parent));
  return result.output.empty() ? 0 : static_cast<pid_t>(std::stol(result.output));
}

TEST(Hdf5Process, NamesTheFileThatAWorkerDiesOn) {
  const ScratchDirectory folder;
  constexpr ImageShape large{3, 128, 128};  // many parts of an answer, so that the worker waits to be read
  tests::write_shard(folder / "a.h5", large, 400);
  Hdf5Process hdf5;
  int64_t seen = 0;
  tests::expect_refusal(
      [&] {
        hdf5.read_in_one_pass(folder / "a.h5", [&](std::span<const uint8_t> pixels) {
          const pid_t worker = child_of(child_of(::getpid()));
          if (seen == 0 && worker > 0) ::kill(worker, SIGSEGV);
          seen += static_cast<int64_t>(pixels.size());
        });
      },
      {"a.h5", "damaged", "libhdf5 crashed on it", "Segmentation fault"});
  EXPECT_LT(seen, 400 * large.bytes());
  // And the next request is served.
  EXPECT_EQ(hdf5.facts(folder / "a.h5").labels.size(), 400U);
}

TEST(Hdf5Process, ServesTheNextRequestAfterOneThatItsCallerGaveUp) {
  const ScratchDirectory folder;
  tests::write_shard(folder / "a.h5", {3, 128, 128}, 400);
  Hdf5Process hdf5;
  EXPECT_THROW(hdf5.read_in_one_pass(folder / "a.h5", [](auto) { throw Error("no room"); }), Error);
  EXPECT_EQ(hdf5.facts(folder / "a.h5").labels.size(), 400U);
}

TEST(Hdf5Process, OutlivesTheSignalsThatStopAJob) {
  const ScratchDirectory folder;
  tests::write_shard(folder / "a.h5", kShape, 20);
  Hdf5Process hdf5;
  const pid_t keeper = child_of(::getpid());
  ASSERT_GT(keeper, 0);
  for (const int signal : {SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGHUP}) ::kill(keeper, signal);
  EXPECT_EQ(hdf5.facts(folder / "a.h5").labels.size(), 20U);
}

TEST(Hdf5Process, SaysThatItIsGoneWhenItWasKilled) {
  const ScratchDirectory folder;
  tests::write_shard(folder / "a.h5", kShape, 20);
  Hdf5Process hdf5;
  const pid_t keeper = child_of(::getpid());
  ASSERT_GT(keeper, 0);
  ::kill(keeper, SIGKILL);
  for (int request = 0; request < 3; ++request) {  // the first may be written before it has died
    const std::string refusal = test::error_text([&] { hdf5.facts(folder / "a.h5"); }, ExitCode::kRetry);
    EXPECT_TRUE(test::has(refusal, {"a.h5", "is gone", "start again"}));
  }
}

// Every outcome for a damaged file but an Error, or the images as far as they are not damaged, ends this test.
TEST(Hdf5Process, ThousandsOfDamagedFilesNeverTakeItDown) {
  const ScratchDirectory folder;
  tests::write_shard(folder / "a.h5", kShape, 40, 0, {{"source", "s"}, {"label_map", "{}"}});
  const std::string good = tests::bytes_of(folder / "a.h5");
  // The images and labels are zeros and small numbers; what libhdf5 can stumble over is the metadata at both ends.
  std::mt19937 random(1);
  Hdf5Process hdf5(/*open_seconds=*/1);
  int refused = 0, crashed = 0, endless = 0, read = 0;
  for (int trial = 0; trial < 2000; ++trial) {
    std::string bytes = good;
    const auto damages = random() % 4 + 1;
    for (unsigned i = 0; i < damages; ++i) {
      const size_t place = random() % 2 == 0 ? random() % 4096 : random() % bytes.size();
      switch (random() % 4) {
        case 0:
          bytes[place] = static_cast<char>(bytes[place] ^ (1 << random() % 8));
          break;
        case 1:
          bytes[place] = static_cast<char>(random());
          break;
        case 2:
          for (size_t k = place; k < std::min(place + 8, bytes.size()); ++k) bytes[k] = static_cast<char>(0xff);
          break;
        default:
          if (random() % 10 == 0) bytes.resize(place + 1);
      }
      if (bytes.size() < 8) break;
    }
    tests::write_bytes(folder / "b.h5", bytes);
    const std::string refusal = tests::refusal_of_reading(folder / "b.h5", {.data_mode = "pread", .hdf5 = &hdf5});
    ASSERT_FALSE(HasFailure());
    ++(refusal.empty() ? read : refused);
    crashed += refusal.find("libhdf5 crashed") != std::string::npos ? 1 : 0;
    endless += refusal.find("did not read it within") != std::string::npos ? 1 : 0;
  }
  std::printf("%d refused, %d of them because libhdf5 crashed and %d because it found no end; %d read\n", refused,
              crashed, endless, read);
  EXPECT_GT(refused, 400);
  EXPECT_GT(read, 400);
}

}  // namespace
}  // namespace cfm
