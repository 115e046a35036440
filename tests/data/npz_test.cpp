#include "data/npz.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "support/data_support.h"

namespace cfm {
namespace {

using data::NumpyArray;
using tests::ScratchDirectory;

std::string npy(const std::string& header, const std::string& data) {
  return std::string("\x93NUMPY\x01\x00", 8) + static_cast<char>(header.size()) + '\0' + header + data;
}

TEST(Npz, IsReadAsItWasWritten) {
  const ScratchDirectory folder;
  const NumpyArray images{"|u1", {2, 3}, {1, 2, 3, 4, 5, 6}};
  const NumpyArray labels{"<i8", {1}, {5, 1, 0, 0, 0, 0, 0, 0}};
  const NumpyArray nothing{"<i4", {0, 7}, {}};
  data::write_npz(folder / "a.npz", {{"arr_0", images}, {"arr_1", labels}, {"none", nothing}});
  const auto read = data::read_npz(folder / "a.npz");
  ASSERT_EQ(read.size(), 3U);
  EXPECT_EQ(read.at("arr_0").bytes, images.bytes);
  EXPECT_EQ(read.at("arr_0").shape, images.shape);
  EXPECT_EQ(read.at("arr_1").as_int64(), std::vector<int64_t>{261});
  EXPECT_EQ(read.at("none").shape, nothing.shape);
}

TEST(Npz, IsTheSameFileWheneverItIsWritten) {
  const ScratchDirectory folder;
  const std::map<std::string, NumpyArray> arrays{{"arr_0", {"|u1", {3}, {1, 2, 3}}}};
  data::write_npz(folder / "a.npz", arrays);
  ::sleep(2);  // the resolution of a zip's clock
  data::write_npz(folder / "b.npz", arrays);
  EXPECT_EQ(tests::bytes_of(folder / "a.npz"), tests::bytes_of(folder / "b.npz"));
}

TEST(Npz, RefusesToWriteAnArrayWhoseShapeIsNotThatOfItsBytes) {
  const ScratchDirectory folder;
  tests::expect_refusal(
      [&] {
        data::write_npz(folder / "a.npz", {{"arr_0", {"|u1", {3}, {1, 2}}}});
      },
      {"arr_0", "2 bytes"});
}

TEST(Npz, IsRefusedByNameIfDamaged) {
  const ScratchDirectory folder;
  data::write_npz(folder / "a.npz", {{"arr_0", {"|u1", {5000}, std::vector<uint8_t>(5000, 3)}}});
  std::string bytes = tests::bytes_of(folder / "a.npz");
  bytes[2000] ^= 1;
  tests::write_bytes(folder / "flipped.npz", bytes);
  tests::write_bytes(folder / "cut.npz", bytes.substr(0, 3000));
  tests::write_bytes(folder / "text.npz", "hello");
  tests::expect_refusal([&] { data::read_npz(folder / "flipped.npz"); }, {"arr_0", "flipped.npz", "damaged"});
  tests::expect_refusal([&] { data::read_npz(folder / "cut.npz"); }, {"cut.npz"});
  tests::expect_refusal([&] { data::read_npz(folder / "text.npz"); }, {"text.npz"});
  tests::expect_refusal([&] { data::read_npz(folder / "none.npz"); }, {"none.npz"});
}

TEST(Npy, IsRefusedWithWhatWasFound) {
  const ScratchDirectory folder;
  const auto refused = [&](const std::string& bytes, const std::vector<std::string>& words) {
    tests::write_bytes(folder / "a.npy", bytes);
    tests::expect_refusal([&] { data::read_npy(folder / "a.npy"); }, words);
  };
  const std::string good = "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 2), }\n";
  refused(npy(good, "abc"), {"a.npy", "needs 4 bytes, it has 3"});
  refused(npy(good, "abcde"), {"a.npy", "needs 4 bytes, it has 5"});
  refused(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }\n", "abcd"), {"a.npy", "<f4"});
  refused(npy("{'descr': '>i4', 'fortran_order': False, 'shape': (1,), }\n", "abcd"), {"a.npy", ">i4"});
  refused(npy("{'descr': [('x', '<i4')], 'fortran_order': False, 'shape': (1,), }\n", "abcd"),
          {"a.npy", "a structure"});
  refused(npy("{'descr': '|u1', 'fortran_order': True, 'shape': (2, 2), }\n", "abcd"), {"a.npy", "Fortran"});
  refused(npy("{'descr': '|u1', 'fortran_order': False, 'shape': (-2, -2), }\n", "abcd"), {"a.npy", "shape"});
  refused(npy("{'descr': '|u1', 'fortran_order': False, 'shape': (4294967296, 4294967296), }\n", "abcd"),
          {"a.npy", "2^63"});
  refused(npy("{'descr': '|u1', 'fortran_order': False, 'shape': (2, 2\n", "abcd"), {"a.npy", "tuple"});
  refused(npy("{'fortran_order': False, 'shape': (2, 2), }\n", "abcd"), {"a.npy", "descr"});
  refused("\x93NUMPY\x01", {"a.npy"});
  refused(std::string("\x93NUMPY\x02\x00\xff\xff\xff\xff", 12), {"a.npy"});
  refused("hello", {"a.npy", "no .npy"});
}

}  // namespace
}  // namespace cfm
