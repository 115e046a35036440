// Every flipped bit and every truncation of a checkpoint is found, wherever it is: a sample of positions over all of
// its files, the same at every run.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <fstream>

#include "base/hash.h"
#include "base/philox.h"
#include "checkpoint/store.h"
#include "checkpoint/weights.h"
#include "support/error_text.h"
#include "support/file_bytes.h"
#include "support/scratch_directory.h"
#include "support/tiny_weights.h"

namespace cfm::checkpoint {
namespace {

namespace fs = std::filesystem;
using test::bytes_of;
using test::error_text;
using test::has;
using test::put_bytes;

constexpr int64_t kStep = 300;

class DamagedCheckpoint : public testing::Test {
 protected:
  void SetUp() override {
    test::write_tiny_checkpoint(run_, kStep, 3, {0.9, 0.9999});
    manifest_ = read_manifest(folder_);
    // Moments too: files without a description of a network.
    const models::UNet net(test::tiny_unet(3), 9);
    for (const char* name : {"exp_avg.safetensors", "exp_avg_sq.safetensors"})
      manifest_.files.push_back(write_safetensors(folder_ / name, models::named_parameters(net), {}));
    put_bytes(folder_ / "manifest.json", to_json(manifest_));
  }

  // Positions in [from, to), the same for the same name.
  static std::vector<size_t> sample(const std::string& name, size_t from, size_t to, size_t count) {
    std::vector<float> uniform(count);
    fill_uniform(uniform, {std::hash<std::string>()(name) % 1000 + from, Purpose::kTime, 0});
    std::vector<size_t> positions;
    for (const float u : uniform)
      positions.push_back(
          std::min(to - 1, from + static_cast<size_t>(static_cast<double>(u) * static_cast<double>(to - from))));
    return positions;
  }

  // What a reader of a run meets: first the manifest, then each file that it names.
  void load() const { verify_checkpoint(folder_, read_manifest(folder_)); }

  void expect_found(const std::string& file, const std::string& what) const {
    EXPECT_TRUE(has(error_text([&] { load(); }), {file.c_str(), "damaged"})) << file << ", " << what;
    if (file == "model.safetensors" || file.starts_with("ema_")) {
      const std::string weights = file.starts_with("ema_") ? file.substr(0, file.find(".safe")) : "raw";
      EXPECT_TRUE(has(error_text([&] { load_run_weights(run_, kStep, weights); }), {file.c_str(), "damaged"})) << what;
    }
    ++found_;
  }
  void expect_found(const std::string& file, const std::string& damaged, const std::string& what) const {
    const std::string whole = bytes_of(folder_ / file);
    ASSERT_NE(damaged, whole) << what;
    put_bytes(folder_ / file, damaged);
    expect_found(file, what);
    put_bytes(folder_ / file, whole);
  }
  // In its place, and back.
  void expect_flip_found(const std::string& file, size_t byte, int bit) const {
    std::fstream stream(folder_ / file, std::ios::in | std::ios::out | std::ios::binary);
    const auto at = static_cast<std::streamoff>(byte);
    const int before = stream.seekg(at).get();
    ASSERT_GE(before, 0);
    stream.seekp(at).put(static_cast<char>(before ^ (1 << bit))).flush();
    expect_found(file, "bit " + std::to_string(bit) + " of byte " + std::to_string(byte));
    stream.seekp(at).put(static_cast<char>(before)).flush();
    ASSERT_TRUE(stream);
  }

  tests::ScratchDirectory scratch_;
  fs::path run_ = scratch_.path() / "run";
  fs::path folder_ = checkpoints_folder(run_) / step_name(kStep);
  Manifest manifest_;
  mutable int found_ = 0;
};

// Where the data begin: behind the header's length and the header.
size_t data_start(const std::string& bytes) {
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  return 8 + length;
}

TEST_F(DamagedCheckpoint, IsWholeBefore) {
  EXPECT_NO_THROW(load());
  EXPECT_EQ(manifest_.files.size(), 5U);
}

TEST_F(DamagedCheckpoint, IsFoundByEveryFlippedBit) {
  for (const FileRecord& record : manifest_.files) {
    const std::string bytes = bytes_of(folder_ / record.name);
    const size_t data = data_start(bytes);
    ASSERT_LT(data, bytes.size());
    for (const size_t byte : {size_t{0}, size_t{7}, size_t{8}, data - 1, data, bytes.size() - 1})
      for (int bit = 0; bit < 8; ++bit) expect_flip_found(record.name, byte, bit);
    for (const size_t byte : sample(record.name, 8, data, 30))
      expect_flip_found(record.name, byte, static_cast<int>(byte % 8));
    for (const size_t byte : sample(record.name, data, bytes.size(), 30))
      expect_flip_found(record.name, byte, static_cast<int>(byte % 8));
  }
  const std::string manifest = bytes_of(folder_ / "manifest.json");
  for (const size_t byte : sample("manifest", 0, manifest.size(), 200))
    expect_flip_found("manifest.json", byte, static_cast<int>(byte % 8));
  for (const size_t byte : {size_t{0}, size_t{1}, size_t{2}, manifest.size() - 2, manifest.size() - 1})
    for (int bit = 0; bit < 8; ++bit) expect_flip_found("manifest.json", byte, bit);
  EXPECT_EQ(found_, 5 * (6 * 8 + 30 + 30) + 200 + 5 * 8);
}

TEST_F(DamagedCheckpoint, HasBytesOfPaddingThatAreCoveredToo) {
  // The header is padded with blanks to a multiple of 8; a changed blank would be no other header.
  int padding = 0;
  for (const FileRecord& record : manifest_.files) {
    const std::string bytes = bytes_of(folder_ / record.name);
    for (size_t at = data_start(bytes); bytes[at - 1] == ' '; --at) {
      std::string damaged = bytes;
      damaged[at - 1] = '\t';
      expect_found(record.name, damaged, "a tab for a blank at byte " + std::to_string(at - 1));
      ++padding;
    }
  }
  EXPECT_GT(padding, 0);
}

TEST_F(DamagedCheckpoint, IsFoundByEveryTruncationAndByEveryByteMore) {
  std::vector<std::string> names{"manifest.json"};
  for (const FileRecord& record : manifest_.files) names.push_back(record.name);
  for (const std::string& name : names) {
    const std::string bytes = bytes_of(folder_ / name);
    std::vector<size_t> sizes = sample(name, 0, bytes.size(), 30);
    for (const size_t size : {size_t{0}, size_t{1}, size_t{7}, size_t{8}, size_t{9}, bytes.size() - 1})
      sizes.push_back(size);
    if (name != "manifest.json")
      for (const size_t size : {data_start(bytes) - 1, data_start(bytes), data_start(bytes) + 1}) sizes.push_back(size);
    for (const size_t size : sizes) expect_found(name, bytes.substr(0, size), "cut to " + std::to_string(size));
    for (const char more : {'\0', ' ', '\n'}) expect_found(name, bytes + more, "a byte more");
  }
}

TEST_F(DamagedCheckpoint, NamesTheBlockAndBothHashes) {
  const FileRecord& record = manifest_.files.front();
  test::flip_bit(folder_ / record.name, static_cast<size_t>(record.bytes) - 1);
  const std::string now = bytes_of(folder_ / record.name);
  const std::string text = error_text([&] { load(); });
  EXPECT_TRUE(
      has(text, {record.name.c_str(), record.block_hashes.front().c_str(), xxh3_128_hex(now.data(), now.size()).c_str(),
                 ("bytes 0 to " + std::to_string(record.bytes)).c_str()}));
}

TEST_F(DamagedCheckpoint, IsFoundWhereAFileIsGoneOrAnother) {
  const std::string ema = bytes_of(folder_ / "ema_0.9.safetensors");
  fs::remove(folder_ / "ema_0.9.safetensors");
  EXPECT_TRUE(has(error_text([&] { load(); }), {"ema_0.9.safetensors"}));
  put_bytes(folder_ / "ema_0.9.safetensors", bytes_of(folder_ / "ema_0.9999.safetensors"));
  EXPECT_TRUE(has(error_text([&] { load(); }), {"ema_0.9.safetensors", "damaged"}));
  put_bytes(folder_ / "ema_0.9.safetensors", ema);
  EXPECT_NO_THROW(load());
}

}  // namespace
}  // namespace cfm::checkpoint
