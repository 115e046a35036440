// The official sets as they come: parts of the downsampled ImageNet, pickled and not, and CIFAR-10, made small by
// Python.

#include "packer/batch_source.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "support/python.h"

namespace cfm {
namespace {

using packer::ImageSource;
using packer::SourceOptions;
using tests::ScratchDirectory;

// batch(first, count): planar rows of 3x4x4 whose bytes follow from the image's number, labels 1 to 1000 in turn.
const std::string kBatches = R"(
import os, pickle
import numpy as np
def rows(first, count, width=48):
    return ((np.arange(first, first + count)[:, None] * 31 + np.arange(width)[None] * 7) % 256).astype(np.uint8)
def batch(first, count):
    data = rows(first, count)
    return {"data": data, "labels": [(first + i) % 1000 + 1 for i in range(count)], "mean": data.mean(0)}
)";

ImageSource open(const ScratchDirectory& folder, const std::string& name, const std::string& split = "train") {
  return packer::open_source(folder / name, {.split = split, .spool_folder = folder / "spool"});
}

// Images first .. first + count - 1 of rows(), labels 0 to 999.
void expect_images(const ImageSource& source, int64_t first, int64_t count) {
  ASSERT_EQ(source.size(), count);
  for (int64_t i = 0; i < count; ++i) {
    EXPECT_EQ(source.labels[static_cast<size_t>(i)], (first + i) % 1000);
    const data::Image image = source.read(i);
    ASSERT_EQ(image.shape, (data::ImageShape{3, 4, 4}));
    for (int64_t j = 0; j < 48; ++j)
      ASSERT_EQ(image.pixels[static_cast<size_t>(j)], ((first + i) * 31 + j * 7) % 256) << source.image_name(i);
  }
}

bool has_note(const ImageSource& source, const std::string& words) {
  return std::ranges::any_of(source.notes,
                             [&](const std::string& note) { return note.find(words) != std::string::npos; });
}

TEST(NpzParts, AreReadInNaturalOrderWithLabelsFromZero) {
  const ScratchDirectory folder;
  tests::run_python(folder.path(), kBatches + R"(
os.mkdir("set")
for part in range(1, 12): np.savez(f"set/train_data_batch_{part}.npz", **batch((part - 1) * 100, 100))
np.savez("set/val_data.npz", **batch(5000, 1000))
np.savez_compressed("deflated.npz", **batch(0, 1000))
np.savez("one.npz", **batch(7, 20))
)");
  const ImageSource train = open(folder, "set");
  expect_images(train, 0, 1100);
  EXPECT_TRUE(has_note(train, "1 to 1000 were taken as 0 to 999"));
  EXPECT_TRUE(has_note(train, "11 of 12"));
  EXPECT_NE(
      train.image_name(1005).find("image 5 of array data of " + (folder / "set/train_data_batch_11.npz").string()),
      std::string::npos);
  expect_images(open(folder, "set", "val"), 5000, 1000);
  expect_images(open(folder, "set", "test"), 5000, 1000);
  expect_images(open(folder, "deflated.npz"), 0, 1000);
  EXPECT_EQ(open(folder, "one.npz").labels[0], 8);  // not the whole range: labels as they are
  tests::expect_refusal([&] { open(folder, "set", "mine"); }, {"set", "--split=mine", "val_data.npz"});
}

TEST(NpzParts, OfOneNameThatNumpyChoosesAreTakenWhateverTheSplitIsCalled) {
  const ScratchDirectory folder;
  tests::run_python(folder.path(), kBatches + R"(
os.mkdir("set")
for part in 1, 2: np.savez(f"set/Imagenet64_train_part{part}.npz", **batch((part - 1) * 500, 500))
open("set/readme.txt", "w").write("hello")
)");
  const ImageSource source = open(folder, "set", "mine");
  expect_images(source, 0, 1000);
  EXPECT_TRUE(has_note(source, "1 other files"));
}

TEST(NpzParts, ThatDifferAreRefused) {
  const ScratchDirectory folder;
  tests::run_python(folder.path(), kBatches + R"(
def save(name, *parts):
    os.mkdir(name)
    for i, part in enumerate(parts): np.savez(f"{name}/train_data_batch_{i}.npz", **part)
save("sizes", batch(0, 5), {"data": rows(0, 5, 75), "labels": [1] * 5})
save("labels", batch(0, 5), {"data": rows(0, 5)})
save("fewer", {"data": rows(0, 5), "labels": [1] * 4})
save("floats", {"data": rows(0, 5).astype(np.float32), "labels": [1] * 5})
save("fortran", {"data": np.asfortranarray(rows(0, 5)), "labels": [1] * 5})
os.mkdir("kinds"); np.savez("kinds/train_data_batch_1.npz", **batch(0, 5)); open("kinds/data_batch_1.bin", "wb").write(b"x")
)");
  tests::expect_refusal([&] { open(folder, "sizes"); }, {"batch_1.npz", "3x5x5", "batch_0.npz", "3x4x4"});
  tests::expect_refusal([&] { open(folder, "labels"); }, {"batch_1.npz", "without labels", "batch_0.npz"});
  tests::expect_refusal([&] { open(folder, "fewer"); }, {"labels", "(4,)", "(5,)"});
  tests::expect_refusal([&] { open(folder, "floats"); }, {"data", "<f4", "uint8"});
  tests::expect_refusal([&] { open(folder, "fortran"); }, {"data", "Fortran"});
  tests::expect_refusal([&] { open(folder, "kinds"); }, {"kinds", "more than one kind"});
}

TEST(StoredNpz, IsComparedWithItsChecksumsAndTheDirectoryUnlessAskedNotTo) {
  const ScratchDirectory folder;
  tests::run_python(folder.path(), kBatches + R"(
np.savez("a.npz", **batch(0, 1000))
b = open("a.npz", "rb").read()
at = b.index(batch(0, 1000)["data"].tobytes())
open("flipped.npz", "wb").write(b[: at + 5] + bytes([b[at + 5] ^ 1]) + b[at + 6 :])
open("local.npz", "wb").write(b.replace(b"data.npy", b"dada.npy", 1))
open("cut.npz", "wb").write(b[:-30])
open("gone.npz", "wb").write(b[: at + 100] + b[-400:])
)");
  tests::expect_refusal([&] { open(folder, "flipped.npz"); }, {"data.npy", "flipped.npz", "damaged"});
  SourceOptions unchecked{.spool_folder = folder / "spool", .verify = false};
  EXPECT_EQ(packer::open_source(folder / "flipped.npz", unchecked).read(0).pixels[5], (5 * 7) ^ 1);
  tests::expect_refusal([&] { open(folder, "local.npz"); }, {"local.npz", "local header"});
  tests::expect_refusal([&] { open(folder, "cut.npz"); }, {"cut.npz"});
  tests::expect_refusal([&] { open(folder, "gone.npz"); }, {"gone.npz"});
}

// More than the 16 MiB that stay in memory; the file that is made has no name, before and after.
TEST(DeflatedNpz, OfManyBytesGoesThroughATemporaryFile) {
  const ScratchDirectory folder;
  tests::run_python(folder.path(), R"(
import pickle
import numpy as np
data = (np.arange(6000)[:, None] * 31 + np.arange(3072)[None] * 7).astype(np.uint8)
np.savez_compressed("a.npz", data=data, labels=np.arange(6000, dtype=np.uint16))
pickle.dump({"data": data, "labels": list(range(6000))}, open("batch", "wb"), protocol=2)
)");
  for (const char* name : {"a.npz", "batch"}) {
    const ImageSource source = open(folder, name);
    EXPECT_TRUE(has_note(source, "temporary file of 18.4 MB in " + (folder / "spool").string())) << name;
    EXPECT_TRUE(std::filesystem::is_empty(folder / "spool"));
    ASSERT_EQ(source.size(), 6000);
    for (const int64_t i : {0, 1, 4999, 5999}) {
      EXPECT_EQ(source.labels[static_cast<size_t>(i)], i);
      const data::Image image = source.read(i);
      for (int64_t j = 0; j < 3072; ++j)
        ASSERT_EQ(image.pixels[static_cast<size_t>(j)], (i * 31 + j * 7) % 256) << name;
    }
  }
}

TEST(PickledBatches, OfTheDownsampledImageNetAreReadUnderEveryProtocol) {
  const ScratchDirectory folder;
  tests::run_python(folder.path(), kBatches + R"(
for protocol in 2, 3, 4, 5:
    os.mkdir(f"set{protocol}")
    for part in range(1, 11):
        pickle.dump(batch((part - 1) * 100, 100), open(f"set{protocol}/train_data_batch_{part}", "wb"), protocol=protocol)
    pickle.dump(batch(3000, 1000), open(f"set{protocol}/val_data", "wb"), protocol=protocol)
)");
  for (const char* set : {"set2", "set3", "set4", "set5"}) {
    expect_images(open(folder, set), 0, 1000);
    expect_images(open(folder, set, "val"), 3000, 1000);
    EXPECT_EQ(open(folder, std::string(set) + "/train_data_batch_2").labels[0], 101);
  }
}

const std::string kCifar = kBatches + R"(
def image(i): return rows(i, 1, 3072)[0].tobytes()
for name in "py", "bin": os.mkdir(name)
for part in range(1, 6):
    numbers = range((part - 1) * 20, part * 20)
    open(f"bin/data_batch_{part}.bin", "wb").write(b"".join(bytes([i % 10]) + image(i) for i in numbers))
    pickle.dump({b"batch_label": b"training batch", b"labels": [i % 10 for i in numbers], b"data": rows(numbers[0], 20, 3072),
                 b"filenames": [b"a_%d.png" % i for i in numbers]}, open(f"py/data_batch_{part}", "wb"), protocol=2)
open("bin/test_batch.bin", "wb").write(b"".join(bytes([i % 10]) + image(i) for i in range(500, 530)))
pickle.dump({b"labels": [i % 10 for i in range(500, 530)], b"data": rows(500, 30, 3072)}, open("py/test_batch", "wb"), protocol=2)
pickle.dump({b"label_names": [b"airplane"]}, open("py/batches.meta", "wb"), protocol=2)
open("bin/batches.meta.txt", "w").write("airplane")
open("cifar100.bin", "wb").write(bytes(3074 * 20))
open("labels.bin", "wb").write(b"\x09" + image(0) + b"\x0a" + image(1))
open("cut.bin", "wb").write(b"\x09" + image(0)[:-1])
)";

TEST(Cifar10, IsReadInBothItsVersions) {
  const ScratchDirectory folder;
  tests::run_python(folder.path(), kCifar);
  for (const char* version : {"py", "bin"})
    for (const auto& [split, first, count] : {std::tuple{"train", int64_t{0}, int64_t{100}}, {"test", 500, 30}}) {
      const ImageSource source = open(folder, version, split);
      ASSERT_EQ(source.size(), count) << version;
      EXPECT_TRUE(has_note(source, "1 other files"));
      for (int64_t i = 0; i < count; ++i) {
        EXPECT_EQ(source.labels[static_cast<size_t>(i)], (first + i) % 10);
        const data::Image image = source.read(i);
        ASSERT_EQ(image.shape, (data::ImageShape{3, 32, 32}));
        for (int64_t j = 0; j < 3072; ++j)
          ASSERT_EQ(image.pixels[static_cast<size_t>(j)], ((first + i) * 31 + j * 7) % 256) << version << i;
      }
    }
  EXPECT_EQ(open(folder, "bin/data_batch_3.bin").size(), 20);
}

TEST(Cifar10, InAnotherFormIsRefused) {
  const ScratchDirectory folder;
  tests::run_python(folder.path(), kCifar);
  tests::expect_refusal([&] { open(folder, "cifar100.bin"); }, {"cifar100.bin", "3074", "CIFAR-100"});
  tests::expect_refusal([&] { open(folder, "labels.bin"); }, {"labels.bin", "label 10", "record 1"});
  tests::expect_refusal([&] { open(folder, "cut.bin"); }, {"cut.bin", "3072 bytes", "3073"});
  tests::expect_refusal([&] { open(folder, "py/batches.meta"); }, {"batches.meta", "no arrays"});
}

TEST(FolderSource, RefusesSplitsAsClassesWithTheHintToNameOne) {
  const ScratchDirectory folder;
  for (const char* name : {"in/train/n01/a.png", "in/val/n01/a.png"}) folder.write(name, "image");
  tests::expect_refusal([&] { open(folder, "in"); },
                        {"in", "train", "split", "--source=" + (folder / "in/train").string()});
}

TEST(Batches, APartThatIsMissingIsSaid) {
  const ScratchDirectory folder;
  tests::run_python(folder.path(), kBatches + R"(
os.makedirs("in")
for part in 1, 2, 4:
    with open(f"in/train_data_batch_{part}", "wb") as f: pickle.dump(batch(10 * part, 10), f, protocol=2)
)");
  const ImageSource source = open(folder, "in");
  EXPECT_EQ(source.size(), 30);
  EXPECT_TRUE(std::ranges::any_of(source.notes, [](const std::string& note) {
    return note.find("part 3 of 1 to 4 is not there (train_data_batch_#)") != std::string::npos;
  }));
}

}  // namespace
}  // namespace cfm
