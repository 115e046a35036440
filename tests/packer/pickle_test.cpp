// Pickled batches as Python and numpy write them, and what must not be obeyed.

#include "packer/pickle.h"

#include <gtest/gtest.h>

#include "packer/latin1.h"
#include "support/python.h"

namespace cfm {
namespace {

using packer::PickledDict;
using tests::ScratchDirectory;

PickledDict read(const std::string& bytes) { return packer::read_pickle(data::memory_bytes("batch", bytes)); }

// The bytes of an array in the pickle, as they are or decoded.
std::string elements(const data::ByteSource& pickle, const packer::PickledArray& array) {
  const data::ByteSource part = data::part_of(pickle, array.offset, array.size, "array");
  if (!array.latin1) return data::text_at(part, 0, part.size);
  std::string bytes;
  packer::for_each_latin1_piece(part,
                                [&bytes](std::span<const uint8_t> piece) { bytes.append(piece.begin(), piece.end()); });
  return bytes;
}

TEST(Pickle, IsReadUnderEveryProtocolThatPythonAndNumpyWrite) {
  const ScratchDirectory folder;
  tests::run_python(folder.path(), R"(
import pickle
import numpy as np
images = (np.arange(60 * 12) * 7 % 256).astype(np.uint8).reshape(60, 12)
labels = [1, 1000, 255, 256, 65536, -7, 2**40] + list(range(2000))
for protocol in 2, 3, 4, 5:
    batch = {"data": images, "labels": labels, "mean": images.mean(0), "names": ["a.png"] * 3, "wide": np.arange(3)}
    open(f"str{protocol}", "wb").write(pickle.dumps(batch, protocol))
    batch = {b"data": images, b"labels": labels, b"mean": images.mean(0), b"names": [b"a.png"] * 3, b"wide": np.arange(3)}
    open(f"bytes{protocol}", "wb").write(pickle.dumps(batch, protocol))
    batch = {"data": images, "labels": [np.int64(x) for x in labels], "wide": np.arange(3), "names": 1.5, "mean": np.float32([1])}
    open(f"scalars{protocol}", "wb").write(pickle.dumps(batch, protocol))
    # numpy 1 calls its modules so.
    b = open(f"str{protocol}", "rb").read()
    if protocol < 4: open(f"numpy1_{protocol}", "wb").write(b.replace(b"numpy._core.", b"numpy.core."))
)");
  std::string expected;
  for (int i = 0; i < 60 * 12; ++i) expected += static_cast<char>(i * 7);
  std::vector<int64_t> labels{1, 1000, 255, 256, 65536, -7, int64_t{1} << 40};
  for (int64_t i = 0; i < 2000; ++i) labels.push_back(i);
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    if (entry.path().extension() == ".py") continue;
    ++files;
    const data::ByteSource pickle = data::file_bytes(entry.path());
    const PickledDict dict = packer::read_pickle(pickle);
    const packer::PickledArray& array = dict.arrays.at("data");
    EXPECT_EQ(array.type, "|u1") << entry.path();
    EXPECT_EQ(array.shape, (std::vector<int64_t>{60, 12})) << entry.path();
    EXPECT_FALSE(array.fortran_order);
    EXPECT_TRUE(elements(pickle, array) == expected) << entry.path();
    EXPECT_EQ(array.latin1, entry.path().filename().string().ends_with("2")) << entry.path();
    EXPECT_EQ(dict.lists.at("labels"), labels) << entry.path();
    EXPECT_EQ(dict.arrays.at("wide").type, "<i8");
    EXPECT_TRUE(dict.arrays.contains("mean"));
    EXPECT_EQ(dict.others, std::vector<std::string>{"names"});
  }
  EXPECT_EQ(files, 14);
}

// Written by Python 2.7 and numpy 1.16: cPickle.dumps({'data': numpy.arange(250, 256).astype('u1').reshape(2, 3),
// 'labels': [6, 300], 'batch_label': 'training batch 1 of 5'}, 2). Longer strings begin with T and four bytes of
// length.
TEST(Pickle, IsReadAsPython2WritesIt) {
  const std::string start(
      "\x80\x02}q\x01(U\x0b"
      "batch_labelq\x02U\x15training batch 1 of 5q\x03U\x06labelsq\x04]q\x05(K\x06M,\x01"
      "eU\x04"
      "dataq\x06"
      "cnumpy.core.multiarray\n_reconstruct\nq\x07"
      "cnumpy\nndarray\nq\x08K\x00\x85U\x01"
      "b\x87Rq\t(K\x01K\x02K\x03\x86"
      "cnumpy\ndtype\nq\nU\x02u1K\x00K\x01\x87Rq\x0b(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89",
      198);
  for (const std::string& length : {std::string("U\x06"), std::string("T\x06\0\0\0", 5)}) {
    const std::string pickle = start + length + "\xfa\xfb\xfc\xfd\xfe\xfftbu.";
    const PickledDict dict = read(pickle);
    EXPECT_EQ(dict.lists.at("labels"), (std::vector<int64_t>{6, 300}));
    EXPECT_EQ(dict.others, std::vector<std::string>{"batch_label"});
    const packer::PickledArray& array = dict.arrays.at("data");
    EXPECT_EQ(array.type, "|u1");
    EXPECT_EQ(array.shape, (std::vector<int64_t>{2, 3}));
    EXPECT_EQ(pickle.substr(array.offset, array.size), "\xfa\xfb\xfc\xfd\xfe\xff");
  }
}

TEST(Pickle, ThatWouldRunCodeIsRefusedByNameAndPlace) {
  const ScratchDirectory folder;
  tests::run_python(folder.path(), R"(
import collections, os, pickle
import numpy as np
class Evil:
    def __reduce__(self): return (os.system, ("touch ran",))
class Plain: pass
for protocol in 2, 3, 4, 5:
    open(f"evil{protocol}", "wb").write(pickle.dumps({"data": Evil()}, protocol))
    open(f"object{protocol}", "wb").write(pickle.dumps({"data": Plain()}, protocol))
    open(f"ordered{protocol}", "wb").write(pickle.dumps(collections.OrderedDict(data=1), protocol))
    open(f"array{protocol}", "wb").write(pickle.dumps({"data": np.array(["a", None], dtype=object)}, protocol))
    open(f"set{protocol}", "wb").write(pickle.dumps({"data": {1, 2}}, protocol))
open("old", "wb").write(pickle.dumps({"data": 1}, 0))
open("list", "wb").write(pickle.dumps([1, 2]))
)");
  const auto refused = [&](const std::string& name, const std::vector<std::string>& words) {
    tests::expect_refusal([&] { packer::read_pickle(data::file_bytes(folder / name)); }, words);
  };
  for (const char* protocol : {"2", "3", "4", "5"}) {
    using std::string_literals::operator""s;
    refused("evil"s + protocol, {"byte ", "evil"s + protocol, "the global posix.system", "run code"});
    refused("object"s + protocol, {"byte ", "Plain"});
    refused("ordered"s + protocol, {"collections.OrderedDict"});
    refused("array"s + protocol, {"dtype object"});
    refused("set"s + protocol, {"byte "});
  }
  refused("old", {"byte 0 of", "protocol"});
  refused("list", {"something else than a dict"});
  EXPECT_FALSE(std::filesystem::exists(folder / "ran"));
}

TEST(Pickle, ThatIsDamagedIsRefused) {
  using std::string_literals::operator""s;
  const auto refused = [&](const std::string& bytes, const std::vector<std::string>& words) {
    tests::expect_refusal([&] { read(bytes); }, words);
  };
  refused("", {"batch", "truncated"});
  refused("\x80", {"truncated"});
  refused("\x80\x06.", {"protocol 6"});
  refused("\x80\x04}", {"truncated"});
  refused("\x80\x04.", {"batch", "dict"});
  refused("\x80\x04\x85.", {"byte 2 of batch", "nothing is left"});
  refused("\x80\x04t", {"no mark"});
  refused("\x80\x04}(K\x01u.", {"without a value"});
  refused("\x80\x04h\x07.", {"did not remember"});
  refused("\x80\x04K\x01K\x02"s + "a.", {"APPEND"});
  refused("\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.", {"truncated"});
  refused("\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\xff.", {"truncated"});
  refused("\x80\x04"s + "2", {"opcode 50 (DUP)"});
  refused("\x80\x04i", {"opcode 105 (INST)"});
  refused("\x80\x04\xfe", {"opcode 254"});
  refused("\x80\x04"s + "c" + std::string(100000, 'a'), {"without an end"});
}

// A whole batch cut anywhere is an Error, never a crash or half a batch.
TEST(Pickle, ThatIsCutAnywhereIsRefused) {
  const ScratchDirectory folder;
  tests::run_python(folder.path(), R"(
import pickle
import numpy as np
for protocol in 2, 3, 4, 5:
    open(f"p{protocol}", "wb").write(pickle.dumps({"data": np.arange(40, dtype=np.uint8), "labels": [1, 2]}, protocol))
)");
  for (const char* name : {"p2", "p3", "p4", "p5"}) {
    const std::string whole = tests::bytes_of(folder / name);
    EXPECT_EQ(read(whole).lists.size(), 1U);
    for (size_t size = 0; size < whole.size(); ++size) EXPECT_THROW(read(whole.substr(0, size)), Error) << size;
  }
}

// A thousand nested lists a kilobyte; recursion would need a stack as deep as the file is long.
TEST(Pickle, OfAnyDepthNeedsNoStack) {
  using std::string_literals::operator""s;
  std::string deep = "\x80\x04}\x8c\x04"s + "data" + std::string(1000000, ']') + std::string(999999, 'a') + "s.";
  EXPECT_EQ(read(deep).others, std::vector<std::string>{"data"});
  std::string self = "\x80\x04}\x8c\x04"s + "data]\x94h" + '\0' + "as.";
  EXPECT_EQ(read(self).others, std::vector<std::string>{"data"});
}

TEST(Pickle, OfMoreValuesThanAnyBatchIsRefusedBeforeItTakesTheMemory) {
  using std::string_literals::operator""s;
  tests::expect_refusal([&] { read("\x80\x04]"s + std::string(5 << 20, 'N')); }, {"more values"});
  tests::expect_refusal([&] { read("\x80\x04"s + std::string(5 << 20, '(')); }, {"more values"});
}

TEST(Latin1, IsDecodedAcrossPiecesAndRefusesOtherCharacters) {
  std::string text, expected;
  for (int i = 0; i < 1500000; ++i) {
    const int byte = i % 7 == 0 ? i % 128 : 128 + i % 128;
    expected += static_cast<char>(byte);
    if (byte < 128) {
      text += static_cast<char>(byte);
    } else {
      text += byte < 192 ? '\xc2' : '\xc3';
      text += static_cast<char>(byte < 192 ? byte : byte - 64);
    }
  }
  packer::PickledArray array{.size = text.size(), .latin1 = true};
  EXPECT_TRUE(elements(data::memory_bytes("t", text), array) == expected);
  for (const char* bad : {"\xc4\x80", "\x80", "\xc2", "\xc2z", "a\xff"}) {
    array.size = std::string(bad).size();
    tests::expect_refusal([&] { elements(data::memory_bytes("t", bad), array); }, {"damaged"});
  }
}

}  // namespace
}  // namespace cfm
