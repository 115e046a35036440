// Other people's HDF5 as a source: what h5py wrote is what is packed.

#include "packer/hdf5_source.h"

#include <gtest/gtest.h>

#include "support/python.h"
#include "support/shard_files.h"

namespace cfm {
namespace {

using packer::ImageSource;
using tests::ScratchDirectory;

void expect_images(const ImageSource& source, int64_t count) {
  ASSERT_EQ(source.size(), count);
  for (int64_t i = 0; i < count; ++i) {
    const data::Image image = source.read(i);
    ASSERT_EQ(image.shape, (data::ImageShape{3, 6, 6}));
    ASSERT_EQ(image.pixels, tests::pixels_of(i, image.shape)) << source.image_name(i);
    ASSERT_EQ(source.labels[static_cast<size_t>(i)], tests::label_of(i));
  }
}

TEST(Hdf5Source, GivesTheImagesOfEveryLayoutAndFileInOrder) {
  const ScratchDirectory folder;
  std::filesystem::create_directory(folder / "set");
  tests::run_python(folder.path(), R"(
import h5py, numpy as np
i, p = np.arange(700)[:, None], np.arange(108)[None]
images = ((i * 131 + p * 7 + i * p % 5 + (i >> 8) * p * 3) % 256).astype(np.uint8).reshape(700, 3, 6, 6)
labels = np.arange(700) % 10
for name, first, last, options in [("a", 0, 200, dict(chunks=(64, 3, 6, 6))), ("b", 200, 500, dict(chunks=(50, 1, 6, 6), compression="gzip")),
                                   ("c", 500, 700, {})]:
    with h5py.File(f"set/{name}.h5", "w") as f:
        f.create_dataset("imgs", data=images[first:last], **options); f["labels"] = labels[first:last]
with h5py.File("nhwc.hdf5", "w") as f:
    f.create_dataset("images", data=images.transpose(0, 2, 3, 1), compression="gzip"); f["labels"] = labels
)");
  data::Hdf5Process hdf5;
  packer::SourceOptions options;
  options.spool_folder = folder / "spool";
  options.hdf5 = &hdf5;
  const ImageSource set = packer::open_source((folder / "set").string(), options);
  expect_images(set, 700);
  EXPECT_NE(set.image_name(250).find("image 50 of "), std::string::npos) << set.image_name(250);
  expect_images(packer::open_source((folder / "nhwc.hdf5").string(), options), 700);
}

TEST(Hdf5Source, GivesImagesWithoutLabelsTheLabelZeroAndSaysSo) {
  const ScratchDirectory folder;
  tests::run_python(folder.path(), R"(
import h5py, numpy as np
with h5py.File("a.h5", "w") as f: f["imgs"] = np.zeros((5, 3, 6, 6), np.uint8)
)");
  data::Hdf5Process hdf5;
  packer::SourceOptions options;
  options.hdf5 = &hdf5;
  const ImageSource source = packer::open_source((folder / "a.h5").string(), options);
  EXPECT_EQ(source.labels, std::vector<int64_t>(5, 0));
  ASSERT_EQ(source.notes.size(), 1U);
  EXPECT_NE(source.notes[0].find("a.h5 comes without labels: every label is 0"), std::string::npos) << source.notes[0];
}

TEST(Hdf5Source, ComparesShardsOfOursWithTheirHashes) {
  const ScratchDirectory folder;
  tests::write_shard(folder / "a.h5", {3, 6, 6}, 100);
  std::string bytes = tests::bytes_of(folder / "a.h5");
  const std::vector<uint8_t> pixels = tests::pixels_of(33, {3, 6, 6});
  bytes[bytes.find(std::string(pixels.begin(), pixels.end())) + 5] ^= 1;
  tests::write_bytes(folder / "a.h5", bytes);
  tests::expect_refusal([&] { packer::open_source((folder / "a.h5").string(), {}); },
                        {"a.h5 is damaged", "images 0 to 99"});
}

TEST(Hdf5Source, RefusesADamagedFileByName) {
  const ScratchDirectory folder;
  tests::write_bytes(folder / "a.h5", "no hdf5");
  data::Hdf5Process hdf5;
  packer::SourceOptions options;
  options.hdf5 = &hdf5;
  tests::expect_refusal([&] { packer::open_source((folder / "a.h5").string(), options); },
                        {"a.h5", "not an HDF5 file"});
}

}  // namespace
}  // namespace cfm
