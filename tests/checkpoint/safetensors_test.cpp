#include "checkpoint/safetensors.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <bit>
#include <cstring>

#include "base/hash.h"
#include "support/error_text.h"
#include "support/file_bytes.h"
#include "support/scratch_directory.h"

namespace cfm::checkpoint {
namespace {

using test::bytes_of;
using test::error_text;
using test::has;
using test::put_bytes;

// A file from a header and its data, as the format's definition has it.
std::string file_of(const std::string& header, const std::string& data) {
  std::string bytes(8, '\0');
  for (size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>(header.size() >> (8 * i));
  return bytes + header + data;
}

const char* const kTwoFloats = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";

class SafetensorsFiles : public testing::Test {
 protected:
  std::string refusal(const std::string& bytes) {
    put_bytes(file_, bytes);
    return error_text([&] { read_safetensors(file_); });
  }
  tests::ScratchDirectory scratch_;
  std::filesystem::path file_ = scratch_.path() / "x.safetensors";
};

using SafetensorsWriter = SafetensorsFiles;
using SafetensorsReader = SafetensorsFiles;
using Verification = SafetensorsFiles;

TEST_F(SafetensorsWriter, WritesTheBytesThatTheFormatDefines) {
  const at::Tensor b = at::ones({2}, at::kFloat);
  const at::Tensor a = at::arange(3, at::kByte);
  write_safetensors(file_, {{"b", b}, {"a", a}}, {{"k", "v"}});
  std::string header =
      R"({"__metadata__":{"k":"v"},"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"U8","shape":[3],"data_offsets":[8,11]}})";
  while (header.size() % 8 != 0) header += ' ';
  EXPECT_EQ(bytes_of(file_), file_of(header, std::string("\0\0\x80\x3f\0\0\x80\x3f\0\1\2", 11)));
}

TEST_F(SafetensorsWriter, StoresChannelsLastTensorsInLogicalOrder) {
  const at::Tensor plain = at::arange(2 * 3 * 4 * 5, at::kFloat).reshape({2, 3, 4, 5});
  const FileRecord one = write_safetensors(file_, {{"w", plain}}, {});
  const FileRecord other = write_safetensors(file_, {{"w", plain.contiguous(at::MemoryFormat::ChannelsLast)}}, {});
  EXPECT_EQ(one.block_hashes, other.block_hashes);
}

TEST_F(SafetensorsWriter, RecordsSizeAndHashOfTheFile) {
  const FileRecord record = write_safetensors(file_, {{"w", at::ones({1000})}}, {});
  const std::string bytes = bytes_of(file_);
  EXPECT_EQ(record.name, "x.safetensors");
  EXPECT_EQ(record.bytes, static_cast<int64_t>(bytes.size()));
  EXPECT_EQ(record.block_hashes, std::vector<std::string>{xxh3_128_hex(bytes.data(), bytes.size())});
}

TEST_F(SafetensorsWriter, HashesBlocksOf64MiB) {
  const FileRecord record = write_safetensors(file_, {{"w", at::arange(18 << 20, at::kInt)}}, {});
  const std::string bytes = bytes_of(file_);
  ASSERT_EQ(record.block_hashes.size(), 2U);
  EXPECT_EQ(record.block_hashes[0], xxh3_128_hex(bytes.data(), 64 << 20));
  EXPECT_EQ(record.block_hashes[1], xxh3_128_hex(bytes.data() + (64 << 20), bytes.size() - (64 << 20)));
  EXPECT_NO_THROW(verify_file(file_, record));
}

TEST_F(SafetensorsWriter, RefusesTwoTensorsOfOneNameAndTypesItDoesNotKnow) {
  const at::Tensor one = at::ones({1});
  EXPECT_TRUE(has(error_text([&] { write_safetensors(file_, {{"w", one}, {"w", one}}, {}); }), {"'w'"}));
  EXPECT_TRUE(has(error_text([&] { write_safetensors(file_, {{"w", one.to(at::kBool)}}, {}); }), {"Bool", "F32"}));
}

TEST_F(SafetensorsReader, ReturnsWhatWasWritten) {
  const NamedTensors written{{"weight", at::arange(6, at::kFloat).reshape({2, 3})},
                             {"half", at::arange(3, at::kBFloat16)},
                             {"empty", at::empty({0, 4}, at::kDouble)},
                             {"scalar", at::ones({}, at::kLong)},
                             {"odd", at::ones({3}, at::kByte)},
                             {"behind", at::ones({2}, at::kDouble)}};
  write_safetensors(file_, written, {{"name", "value"}, {"text", "\"quotes\" and \n"}});
  const SafetensorsFile file = read_safetensors(file_);
  EXPECT_EQ(file.metadata, (Metadata{{"name", "value"}, {"text", "\"quotes\" and \n"}}));
  EXPECT_EQ(read_safetensors_metadata(file_), file.metadata);
  ASSERT_EQ(file.tensors.size(), written.size());
  for (const auto& [name, tensor] : written) {
    const auto found =
        std::find_if(file.tensors.begin(), file.tensors.end(), [&](const auto& t) { return t.first == name; });
    ASSERT_NE(found, file.tensors.end()) << name;
    EXPECT_EQ(found->second.scalar_type(), tensor.scalar_type());
    EXPECT_TRUE(at::equal(found->second, tensor)) << name;
  }
}

TEST_F(SafetensorsReader, ReadsAndWritesMoreThan2GiB) {
  const int64_t bytes = (int64_t{1} << 31) + 4096;
  const at::Tensor large = at::zeros({bytes}, at::kByte);
  large.mutable_data_ptr<uint8_t>()[bytes - 1] = 7;
  const FileRecord record = write_safetensors(file_, {{"large", large}, {"small", at::ones({1})}}, {});
  EXPECT_EQ(record.block_hashes.size(), 33U);
  EXPECT_NO_THROW(verify_file(file_, record));
  const SafetensorsFile file = read_safetensors(file_);
  EXPECT_TRUE(at::equal(file.tensors.at(0).second, large));
  EXPECT_TRUE(at::equal(file.tensors.at(1).second, at::ones({1})));
}

TEST_F(SafetensorsReader, RefusesWhatIsNotAFile) {
  EXPECT_TRUE(has(error_text([&] { read_safetensors(scratch_.path() / "none"); }), {"none", "No such file"}));
  EXPECT_TRUE(has(error_text([&] { read_safetensors(scratch_.path()); }), {"regular file"}));
}

TEST_F(SafetensorsReader, RefusesEveryTruncation) {
  const std::string whole = file_of(kTwoFloats, "01234567");
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_TRUE(has(refusal(whole.substr(0, size)), {"x.safetensors"})) << size;
  }
  EXPECT_TRUE(has(refusal(whole + "8"), {"take 8 bytes", "holds 9"}));
}

TEST_F(SafetensorsReader, RefusesAHeaderOfAHugeDeclaredLength) {
  EXPECT_TRUE(has(refusal(std::string(8, '\xff') + "{}"), {"18446744073709551615", "100 MB"}));
  EXPECT_TRUE(has(refusal(std::string("\xff\xff\xff\x05\0\0\0\0{}", 10)), {"100 MB"}));
  EXPECT_TRUE(has(refusal(std::string("\0\0\0\x05\0\0\0\0{}", 10)), {"83886080", "truncated"}));
  EXPECT_TRUE(has(refusal(std::string("\x7f\xff\xff\xff\xff\xff\xff\x7f{}", 10)), {"100 MB"}));
}

TEST_F(SafetensorsReader, RefusesGarbageHeaders) {
  EXPECT_TRUE(has(refusal(file_of("garbage!", "")), {"does not begin with '{'"}));
  EXPECT_TRUE(has(refusal(file_of("{garbage", "")), {"not JSON"}));
  EXPECT_TRUE(has(refusal(file_of("", "")), {"does not begin"}));
  EXPECT_TRUE(has(refusal(file_of("{\"a\":\"\xff\xfe\"}", "")), {"not JSON"}));
  EXPECT_TRUE(has(refusal(file_of("{\"a\":" + std::string(1 << 20, '[') + "}", "")), {"nested"}));
  EXPECT_TRUE(has(refusal(file_of(R"({"a":[]})", "")), {"'a'", "object"}));
  EXPECT_TRUE(has(refusal(file_of(R"({"a":{"dtype":"F32","shape":[2]}})", "")), {"data_offsets"}));
  EXPECT_TRUE(has(refusal(file_of(R"({"__metadata__":{"a":1}})", "")), {"__metadata__ 'a'", "string"}));
  EXPECT_TRUE(has(refusal(file_of(R"({"__metadata__":[]})", "")), {"__metadata__"}));
  const std::string entry = R"("a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]})";
  EXPECT_TRUE(has(refusal(file_of("{" + entry + "," + entry + "}", "01234567")), {"'a' twice"}));
}

TEST_F(SafetensorsReader, RefusesEntriesThatDoNotFitTheData) {
  const auto entry = [&](const std::string& dtype, const std::string& shape, const std::string& offsets) {
    return refusal(file_of(
        R"({"a":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}", "01234567"));
  };
  EXPECT_TRUE(has(entry("F7", "[2]", "[0,8]"), {"'a'", "'F7'", "F32"}));
  EXPECT_TRUE(has(entry("F32", "[3]", "[0,8]"), {"'a'", "8 bytes", "[3] takes 12"}));
  EXPECT_TRUE(has(entry("F32", "[-2]", "[0,8]"), {"-2"}));
  EXPECT_TRUE(has(entry("F32", "[2.0]", "[0,8]"), {"2.0"}));
  EXPECT_TRUE(has(entry("F32", "[4611686018427387905]", "[0,8]"), {"2^63"}));
  EXPECT_TRUE(has(entry("F32", "[0,4294967296,4294967296]", "[0,0]"), {"2^63"}));  // no bytes, but strides
  EXPECT_TRUE(has(entry("F32", "[18446744073709551615]", "[0,8]"), {"expected a size"}));
  EXPECT_TRUE(has(entry("F32", "[2]", "[8,0]"), {"[begin, end]"}));
  EXPECT_TRUE(has(entry("F32", "[2]", "[0]"), {"[begin, end]"}));
  EXPECT_TRUE(has(entry("F32", "[2]", "[4,12]"), {"byte 12", "holds 8"}));
  EXPECT_TRUE(has(entry("F32", "[1]", "[4,8]"), {"hole"}));
  EXPECT_TRUE(has(entry("F32", "[1]", "[0,4]"), {"take 4 bytes", "holds 8"}));
}

TEST_F(SafetensorsReader, RefusesOverlappingTensors) {
  const std::string header =
      R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})";
  EXPECT_TRUE(has(refusal(file_of(header, "01234567")), {"'b'", "inside another"}));
}

TEST_F(SafetensorsReader, MeetsEveryFlippedBitOfTheHeaderWithAnErrorOrAnotherHeader) {
  const std::string whole = file_of(R"({"__metadata__":{"k":"v"},)" + std::string(kTwoFloats).substr(1), "01234567");
  for (size_t bit = 0; bit < (whole.size() - 8) * 8; ++bit) {
    std::string damaged = whole;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    put_bytes(file_, damaged);
    try {
      read_safetensors(file_);
    } catch (const Error& error) {
      EXPECT_TRUE(has(error.what(), {"x.safetensors"}));
    }
  }
}

TEST_F(Verification, NoticesEveryFlippedBit) {
  const FileRecord record = write_safetensors(file_, {{"w", at::ones({5})}}, {{"k", "v"}});
  const std::string whole = bytes_of(file_);
  for (size_t bit = 0; bit < whole.size() * 8; ++bit) {
    std::string damaged = whole;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    put_bytes(file_, damaged);
    EXPECT_TRUE(has(error_text([&] { verify_file(file_, record); }), {"x.safetensors", "damaged"}));
  }
}

TEST_F(Verification, NamesTheBlockThatDiffers) {
  const FileRecord record = write_safetensors(file_, {{"w", at::ones({18 << 20})}}, {});
  test::flip_bit(file_, (64 << 20) + 5);
  EXPECT_TRUE(
      has(error_text([&] { verify_file(file_, record); }), {"bytes 67108864 to", record.block_hashes[1].c_str()}));
}

TEST_F(Verification, NamesATruncatedAndAMissingFile) {
  const FileRecord record = write_safetensors(file_, {{"w", at::ones({5})}}, {});
  std::filesystem::resize_file(file_, static_cast<uintmax_t>(record.bytes - 1));
  EXPECT_TRUE(has(error_text([&] { verify_file(file_, record); }), {"x.safetensors", "damaged"}));
  std::filesystem::remove(file_);
  EXPECT_TRUE(has(error_text([&] { verify_file(file_, record); }), {"x.safetensors", "No such file"}));
}

TEST(LoadTensors, CopiesByNameWhateverTheOrderAndKeepsTheMemoryFormat) {
  const at::Tensor source = at::arange(24, at::kFloat).reshape({1, 2, 3, 4});
  const at::Tensor a = at::zeros({1, 2, 3, 4}).contiguous(at::MemoryFormat::ChannelsLast).set_requires_grad(true);
  const at::Tensor b = at::zeros({1});
  load_tensors({{"b", at::ones({1})}, {"a", source}}, {{"a", a}, {"b", b}}, "file");
  EXPECT_TRUE(at::equal(a, source));
  EXPECT_TRUE(a.is_contiguous(at::MemoryFormat::ChannelsLast));
  EXPECT_TRUE(at::equal(b, at::ones({1})));
}

TEST(LoadTensors, ListsAllThatDoesNotFitAndChangesNothing) {
  const at::Tensor fine = at::zeros({2});
  const std::string text = error_text([&] {
    load_tensors({{"fine", at::ones({2})},
                  {"shape", at::ones({2})},
                  {"extra", at::ones({1})},
                  {"type", at::ones({1}, at::kLong)}},
                 {{"fine", fine}, {"shape", at::zeros({3})}, {"gone", at::zeros({1})}, {"type", at::zeros({1})}},
                 "a file");
  });
  EXPECT_TRUE(has(text, {"a file", "4 problems", "'shape' is [2], expected [3]", "'gone' [1] is missing",
                         "'extra' is not expected", "'type' is I64, expected F32"}));
  EXPECT_TRUE(at::equal(fine, at::zeros({2})));
}

}  // namespace
}  // namespace cfm::checkpoint
