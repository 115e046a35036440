#include "base/durable_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "support/error_text.h"
#include "support/file_bytes.h"
#include "support/scratch_directory.h"

namespace cfm {
namespace {

namespace fs = std::filesystem;
using test::bytes_of;
using test::error_text;
using test::has;

class DurableFiles : public testing::Test {
 protected:
  tests::ScratchDirectory scratch_;
  fs::path file_ = scratch_.path() / "file";
};

TEST_F(DurableFiles, HoldTheirPiecesInOrder) {
  DurableFile file(file_);
  file.append("one ", 4);
  file.append("", 0);
  file.append("two", 3);
  file.close();
  EXPECT_EQ(bytes_of(file_), "one two");
}

// Pages of the file that the page cache holds.
int64_t cached_pages(const fs::path& file) {
  const auto size = static_cast<size_t>(fs::file_size(file));
  const int descriptor = ::open(file.c_str(), O_RDONLY);
  void* const mapped = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, descriptor, 0);
  std::vector<unsigned char> pages((size + 4095) / 4096);
  EXPECT_EQ(::mincore(mapped, size, pages.data()), 0);
  ::munmap(mapped, size);
  ::close(descriptor);
  return std::count_if(pages.begin(), pages.end(), [](unsigned char page) { return (page & 1) != 0; });
}

TEST_F(DurableFiles, PastThePageCacheHoldTheSameBytesWhateverTheirSizesAndAlignment) {
  std::string bytes(300001, ' ');
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>((i * 2654435761U) >> 13);
  std::vector<char> room(bytes.size() + 2 * kDirectBlock);
  for (const size_t shift : {size_t{0}, size_t{64}, size_t{1}}) {
    for (const size_t piece : {bytes.size(), 16 * kDirectBlock, kDirectBlock, size_t{1000}}) {
      char* from = room.data() + kDirectBlock - reinterpret_cast<uintptr_t>(room.data()) % kDirectBlock + shift;
      std::memcpy(from, bytes.data(), bytes.size());
      DurableFile file(file_, Through::kNothing);
      for (size_t at = 0; at < bytes.size(); at += piece) file.append(from + at, std::min(piece, bytes.size() - at));
      file.close();
      EXPECT_TRUE(bytes_of(file_) == bytes) << shift << " " << piece;
    }
  }
}

TEST_F(DurableFiles, PastThePageCacheLeaveNothingButTheTailInIt) {
  scratch_.write("probe", "");
  const int probe = ::open((scratch_.path() / "probe").c_str(), O_WRONLY | O_DIRECT);
  const bool possible = probe >= 0;
  if (possible) ::close(probe);
  constexpr size_t kSize = 64 * kDirectBlock + 10;
  alignas(kDirectBlock) static std::array<char, kSize> bytes{};
  for (const Through through : {Through::kPageCache, Through::kNothing}) {
    DurableFile file(file_, through);
    file.append(bytes.data(), kSize);
    file.close();
    const bool direct = possible && through == Through::kNothing;
    EXPECT_EQ(cached_pages(file_), direct ? 1 : 65)
        << "a file system " << (possible ? "with" : "without") << " O_DIRECT";
  }
}

TEST_F(DurableFiles, ReplaceWhatWasThere) {
  scratch_.write("file", "something longer");
  DurableFile file(file_);
  file.append("new", 3);
  file.close();
  EXPECT_EQ(bytes_of(file_), "new");
}

TEST_F(DurableFiles, NameThePathAndTheReasonAndMayBeTriedAgain) {
  const std::string text = error_text([&] { DurableFile file(scratch_.path() / "none" / "x"); }, ExitCode::kRetry);
  EXPECT_TRUE(has(text, {"none/x", "No such file or directory"}));
}

TEST_F(DurableFiles, ReportAWriteThatDoesNotFit) {
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  const rlimit limit{1000, before.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &limit);
  const std::string bytes(4000, 'x');
  const std::string text = error_text(
      [&] {
        DurableFile file(file_);
        file.append(bytes.data(), bytes.size());
      },
      ExitCode::kRetry);
  const std::string whole = error_text([&] { write_durably(scratch_.path() / "whole", bytes); }, ExitCode::kRetry);
  ::setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_TRUE(has(text, {file_.c_str(), "File too large"}));
  EXPECT_TRUE(has(whole, {"whole", "File too large"}));
  EXPECT_FALSE(fs::exists(scratch_.path() / "whole"));
  EXPECT_FALSE(fs::exists(scratch_.path() / "whole.tmp")) << "a failed write leaves nothing";
}

TEST_F(DurableFiles, WrittenAsAWholeReplaceTheOldOneAndLeaveNothingElse) {
  scratch_.write("file", "old");
  write_durably(file_, std::string_view("with\0zero", 9));
  EXPECT_EQ(bytes_of(file_), std::string("with\0zero", 9));
  EXPECT_EQ(std::distance(fs::directory_iterator(scratch_.path()), fs::directory_iterator()), 1);
}

TEST_F(DurableFiles, AreReadBackWhole) {
  const std::string bytes("any \0 bytes\n", 12);
  scratch_.write("file", bytes);
  EXPECT_EQ(read_file(file_), bytes);
  scratch_.write("empty", "");
  EXPECT_EQ(read_file(scratch_.path() / "empty"), "");
}

TEST_F(DurableFiles, ThatCannotBeReadAreNamed) {
  EXPECT_TRUE(has(error_text([&] { read_file(scratch_.path() / "none"); }), {"none", "No such file"}));
  EXPECT_TRUE(has(error_text([&] { read_file(scratch_.path()); }), {scratch_.path().c_str(), "Is a directory"}));
}

// Address 0 of a process can never be read: Linux answers with EIO.
TEST_F(DurableFiles, ThatCannotBeReadForNowMayBeReadLater) {
  EXPECT_TRUE(has(error_text([&] { read_file("/proc/self/mem"); }, ExitCode::kRetry),
                  {"cannot read /proc/self/mem", "Input/output error"}));
}

TEST_F(DurableFiles, RenamesMoveFoldersButNeverOntoAFullOne) {
  scratch_.write("from/a", "1");
  rename_durably(scratch_.path() / "from", scratch_.path() / "to");
  EXPECT_EQ(bytes_of(scratch_.path() / "to" / "a"), "1");
  scratch_.write("other/b", "2");
  const std::string text =
      error_text([&] { rename_durably(scratch_.path() / "other", scratch_.path() / "to"); }, ExitCode::kRetry);
  EXPECT_TRUE(has(text, {"other", "to", "not empty"}));
  EXPECT_EQ(bytes_of(scratch_.path() / "to" / "a"), "1");
}

TEST_F(DurableFiles, FsyncOfAFolderThatIsNotThereIsAnError) {
  EXPECT_NO_THROW(fsync_directory(scratch_.path()));
  EXPECT_TRUE(has(error_text([&] { fsync_directory(scratch_.path() / "none"); }, ExitCode::kRetry), {"none"}));
}

}  // namespace
}  // namespace cfm
