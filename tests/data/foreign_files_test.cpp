// Files that others wrote, in every layout that people have: h5py writes them, and says what each image is.

#include <gtest/gtest.h>
#include <unistd.h>

#include <random>

#include "data/dataset.h"
#include "data/hdf5_process.h"
#include "support/python.h"
#include "support/shard_files.h"

namespace cfm {
namespace {

using data::Dataset;
using data::DatasetOptions;
using data::ImageShape;
using tests::ScratchDirectory;

constexpr ImageShape kShape{3, 6, 6};
constexpr int64_t kImages = 1030;

// All images of a data set, CHW, and their labels.
void expect_the_images(const Dataset& dataset) {
  ASSERT_EQ(dataset.size(), kImages);
  ASSERT_EQ(dataset.image_shape(), kShape);
  std::vector<uint8_t> pixels(static_cast<size_t>(kShape.bytes()));
  for (int64_t i = 0; i < kImages; ++i) {
    dataset.read(i, pixels);
    ASSERT_EQ(pixels, tests::pixels_of(i, kShape)) << dataset.path() << " image " << i;
    ASSERT_EQ(dataset.label(i), tests::label_of(i)) << dataset.path() << " image " << i;
  }
}

// a.h5, written by `lines` from `images` (N,3,6,6) and `labels` (N,), with `f` open for writing as `options` say.
void write_with_h5py(const ScratchDirectory& folder, const std::string& lines, const std::string& options = "") {
  tests::run_python(folder.path(), R"(
import h5py, numpy as np
i, p = np.arange(1030)[:, None], np.arange(108)[None]
images = ((i * 131 + p * 7 + i * p % 5 + (i >> 8) * p * 3) % 256).astype(np.uint8).reshape(1030, 3, 6, 6)
labels = np.arange(1030) % 10
with h5py.File("a.h5", "w")" + options +
                                       R"() as f:
    )" + lines + "\n");
}

struct Layout {
  const char* name;
  const char* lines;
  const char* options;
  data::Access access;
};

void PrintTo(const Layout& layout, std::ostream* out) { *out << layout.name; }

class Layouts : public testing::TestWithParam<Layout> {};

TEST_P(Layouts, AreReadAsH5pyWroteThem) {
  const ScratchDirectory folder;
  write_with_h5py(folder, GetParam().lines, GetParam().options);
  data::Hdf5Process hdf5;
  for (const char* mode : {"auto", "ram", "pread"}) {
    const DatasetOptions options{.data_mode = mode, .hdf5 = &hdf5};
    if (mode == std::string("pread") && GetParam().access == data::Access::kOnePass) {
      tests::expect_refusal([&] { Dataset::open(folder / "a.h5", options); },
                            {"--data_mode=pread", "a.h5", "cfm_pack"});
      continue;
    }
    const Dataset dataset = Dataset::open(folder / "a.h5", options);
    expect_the_images(dataset);
    EXPECT_EQ(dataset.shards()[0].plan().access, GetParam().access) << dataset.access();
    EXPECT_EQ(dataset.access().starts_with("pread"), mode == std::string("pread")) << dataset.access();
  }
}

INSTANTIATE_TEST_SUITE_P(
    Files, Layouts,
    testing::Values(
        Layout{"plain", "f['imgs'], f['labels'] = images, labels", "", data::Access::kContiguous},
        Layout{"biggan",
               "f.create_dataset('imgs', data=images, chunks=(500, 3, 6, 6), maxshape=(None, 3, 6, 6)); "
               "f.create_dataset('labels', data=labels, chunks=(500,), maxshape=(None,))",
               "", data::Access::kChunks},
        Layout{
            "studiogan",
            "f.create_dataset('imgs', data=images.transpose(0, 2, 3, 1), chunks=(500, 6, 6, 3), maxshape=(None, 6, 6, "
            "3)); f.create_dataset('labels', data=labels, chunks=(500,))",
            "", data::Access::kChunks},
        Layout{"interleaved_contiguous", "f['imgs'], f['labels'] = images.transpose(0, 2, 3, 1).copy(), labels", "",
               data::Access::kContiguous},
        Layout{"planar_rows", "f['data'], f['labels'] = images.reshape(1030, 108), labels.astype(np.uint8)", "",
               data::Access::kContiguous},
        Layout{"planar_rows_in_chunks",
               "f.create_dataset('X', data=images.reshape(1030, 108), chunks=(64, 108)); f['y'] = labels[:, None]", "",
               data::Access::kChunks},
        Layout{"chunks_behind_a_userblock",
               "f.create_dataset('images', data=images, chunks=(100, 3, 6, 6)); f['labels'] = labels",
               ", userblock_size=4096", data::Access::kChunks},
        Layout{"newest_format", "f.create_dataset('imgs', data=images, chunks=(500, 3, 6, 6)); f['labels'] = labels",
               ", libver='latest'", data::Access::kChunks},
        Layout{"one_image_a_chunk", "f.create_dataset('imgs', data=images, chunks=(1, 3, 6, 6)); f['labels'] = labels",
               "", data::Access::kChunks},
        Layout{"gzip",
               "f.create_dataset('imgs', data=images, chunks=(128, 3, 6, 6), compression='gzip'); f['labels'] = labels",
               "", data::Access::kOnePass},
        Layout{"shuffled_gzip_interleaved",
               "f.create_dataset('imgs', data=images.transpose(0, 2, 3, 1), chunks=True, compression='gzip', "
               "shuffle=True, "
               "fletcher32=True); f['labels'] = labels",
               "", data::Access::kOnePass},
        Layout{"chunks_that_split_images",
               "f.create_dataset('imgs', data=images, chunks=(256, 1, 3, 6)); f['labels'] = labels", "",
               data::Access::kOnePass}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(ForeignFiles, ANodeKeepsItsOwnGroupsImagesOfAFileThatIsReadInOnePass) {
  const ScratchDirectory folder;
  write_with_h5py(
      folder, "f.create_dataset('imgs', data=images, chunks=(128, 3, 6, 6), compression='gzip'); f['labels'] = labels");
  for (int node = 0; node < 3; ++node) {
    Ranks second;
    second.node = node;
    second.nodes = 3;
    const Dataset dataset = Dataset::open(folder / "a.h5", {.groups = 6, .ranks = second});
    EXPECT_EQ(dataset.readable().first, kImages * 2 * node / 6);
    EXPECT_EQ(dataset.readable().last, kImages * (2 * node + 2) / 6);
    std::vector<uint8_t> pixels(static_cast<size_t>(kShape.bytes()));
    for (int64_t i = dataset.readable().first; i < dataset.readable().last; ++i) {
      dataset.read(i, pixels);
      ASSERT_EQ(pixels, tests::pixels_of(i, kShape)) << "node " << node << " image " << i;
    }
  }
}

TEST(ForeignFiles, WhatIsReadOnceIsNotStaged) {
  const ScratchDirectory folder;
  write_with_h5py(
      folder, "f.create_dataset('imgs', data=images, chunks=(128, 3, 6, 6), compression='gzip'); f['labels'] = labels");
  tests::expect_refusal([&] { Dataset::open(folder / "a.h5", {.stage_dir = folder / "local"}); },
                        {"--stage_dir", "a.h5", "gzip", "Leave out --stage_dir"});
  EXPECT_FALSE(std::filesystem::exists(folder / "local"));
}

// Bytes changed at random, in the metadata and among compressed chunks; any end but an Error that names the file, or
// images as far as they are not damaged, ends this test.
class DamagedLayouts : public testing::TestWithParam<Layout> {};

TEST_P(DamagedLayouts, NeverTakeAJobDown) {
  const ScratchDirectory folder;
  write_with_h5py(folder, GetParam().lines);
  const std::string good = tests::bytes_of(folder / "a.h5");
  std::mt19937 random(7);
  data::Hdf5Process hdf5(/*open_seconds=*/1);
  int refused = 0, read = 0;
  for (int trial = 0; trial < 700; ++trial) {
    std::string bytes = good;
    for (auto damages = random() % 4 + 1; damages > 0; --damages) {
      const size_t place = random() % 2 == 0 ? random() % 8192 : random() % bytes.size();
      const size_t length = std::min<size_t>(random() % 3 == 0 ? 8 : 1, bytes.size() - place);
      for (size_t i = place; i < place + length; ++i) bytes[i] = static_cast<char>(length == 8 ? 0xff : random());
    }
    if (random() % 10 == 0) bytes.resize(random() % bytes.size());
    tests::write_bytes(folder / "b.h5", bytes);
    ++(tests::refusal_of_reading(folder / "b.h5", {.hdf5 = &hdf5}).empty() ? read : refused);
    ASSERT_FALSE(HasFailure());
  }
  std::printf("%d refused, %d read\n", refused, read);
  EXPECT_GT(refused, 50);
  EXPECT_GT(read, 50);
}

INSTANTIATE_TEST_SUITE_P(
    ForeignFiles, DamagedLayouts,
    testing::Values(Layout{"chunks_of_whole_images",
                           "f.create_dataset('imgs', data=images, chunks=(100, 3, 6, 6)); f['labels'] = labels", "",
                           data::Access::kChunks},
                    Layout{"gzip",
                           "f.create_dataset('imgs', data=images, chunks=(128, 3, 6, 6), compression='gzip', "
                           "shuffle=True); f['labels'] = labels",
                           "", data::Access::kOnePass},
                    Layout{"chunks_that_split_images",
                           "f.create_dataset('imgs', data=images, chunks=(256, 1, 3, 6)); f['labels'] = labels", "",
                           data::Access::kOnePass}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(ForeignFiles, LabelsOf1To1000AreTakenFromZeroOn) {
  const ScratchDirectory folder;
  write_with_h5py(folder,
                  "f['imgs'] = np.concatenate([images, images])[:2000]; f['labels'] = np.arange(2000) % 1000 + 1");
  const Dataset dataset = Dataset::open(folder / "a.h5");
  EXPECT_EQ(dataset.num_classes(), 1000);
  EXPECT_EQ(dataset.label(0), 0);
  EXPECT_EQ(dataset.label(1999), 999);
}

TEST(ForeignFiles, LabelsAreCountedAsThoseOfTheSetThatTheyGoWith) {
  const ScratchDirectory folder;
  write_with_h5py(folder, "f['imgs'] = images[:90]; f['labels'] = np.arange(90) + 1");
  EXPECT_EQ(Dataset::open(folder / "a.h5").label(0), 1) << "nothing says that these count from 1";
  const Dataset dataset = Dataset::open(folder / "a.h5", {.labels_from_one = true});
  EXPECT_EQ(dataset.label(0), 0);
  EXPECT_EQ(dataset.label(89), 89);
  write_with_h5py(folder, "f['imgs'] = images[:90]; f['labels'] = np.arange(90)");
  tests::expect_refusal([&] { Dataset::open(folder / "a.h5", {.labels_from_one = true}); },
                        {"a.h5", "label 0", "expected 1 to 1000"});
  write_with_h5py(folder, "f['imgs'] = images[:90]; f['labels'] = np.arange(90) * 999 // 89 + 1");
  tests::expect_refusal([&] { Dataset::open(folder / "a.h5", {.labels_from_one = false}); },
                        {"a.h5", "1 to 1000", "from 0"});
}

TEST(ForeignFiles, AFilterThatIsNotAtHandIsRefusedByName) {
  const ScratchDirectory folder;
  write_with_h5py(
      folder, "f.create_dataset('imgs', data=images, chunks=(128, 3, 6, 6), compression='lzf'); f['labels'] = labels");
  tests::expect_refusal([&] { Dataset::open(folder / "a.h5"); }, {"lzf", "a.h5", "h5py"});
}

TEST(ForeignFiles, AreToldApartByTheirSizeTheirLabelsAndSamplesOfTheirBytes) {
  const ScratchDirectory folder;
  const auto files = [&](const std::string& lines) {
    write_with_h5py(folder, lines);
    return Dataset::open(folder / "a.h5").fingerprint().files;
  };
  const std::string one = files("f['imgs'], f['labels'] = images, labels");
  EXPECT_EQ(files("f['imgs'], f['labels'] = images, labels"), one);
  EXPECT_NE(files("labels[7] = 3; f['imgs'], f['labels'] = images, labels"), one);
  EXPECT_NE(files("images[0, 0, 0, 0] += 1; f['imgs'], f['labels'] = images, labels"), one);
  EXPECT_NE(files("f['imgs'], f['labels'] = images[:1029], labels[:1029]"), one);
}

TEST(ForeignFiles, OnceReadAsAWholeHaveTheFingerprintThatTheSameImagesPackedHave) {
  const ScratchDirectory folder;
  ::setenv("XDG_CACHE_HOME", (folder / "cache").c_str(), 1);
  write_with_h5py(
      folder, "f.create_dataset('imgs', data=images, chunks=(128, 3, 6, 6), compression='gzip'); f['labels'] = labels");
  EXPECT_EQ(Dataset::open(folder / "a.h5").fingerprint().images, "");
  const std::string found = Dataset::open(folder / "a.h5", {.verify = true}).fingerprint().images;
  EXPECT_EQ(found.size(), 32U);
  EXPECT_EQ(Dataset::open(folder / "a.h5").fingerprint().images, found) << "an earlier reading is remembered";
  // The same images in other files, in another order: two shards of ours, the second half first.
  std::filesystem::create_directory(folder / "packed");
  tests::write_shard(folder / "packed/a.h5", kShape, 530, 500);
  tests::write_shard(folder / "packed/b.h5", kShape, 500, 0);
  const data::Fingerprint packed = Dataset::open(folder / "packed").fingerprint();
  EXPECT_EQ(packed.images, found);
  // A file that has changed is not the one that was read.
  write_with_h5py(folder, "f['imgs'], f['labels'] = images, labels");
  EXPECT_EQ(Dataset::open(folder / "a.h5").fingerprint().images, "");
  ::unsetenv("XDG_CACHE_HOME");
}

}  // namespace
}  // namespace cfm
