// Shards between us and h5py: what we write it reads, and what we do not read is refused by name.

#include <gtest/gtest.h>

#include "data/dataset.h"
#include "data/shard.h"
#include "support/python.h"
#include "support/shard_files.h"

namespace cfm {
namespace {

using data::Shard;
using tests::ScratchDirectory;

TEST(H5py, ReadsOurShardsAsTheyAre) {
  const ScratchDirectory folder;
  tests::write_shard(folder / "a.h5", {3, 5, 4}, 1100, 0,
                     {{"source", "a test"}, {"resize", "none"}, {"label_map", "{\"cat\":0}"}});
  tests::run_python(folder.path(), R"(
import h5py, json, numpy as np
f = h5py.File("a.h5")
assert sorted(f) == ["imgs", "labels", "xxh3"], list(f)
i, p = np.arange(1100)[:, None], np.arange(60)[None]
assert f["imgs"].dtype == np.uint8 and f["imgs"].shape == (1100, 3, 5, 4)
assert (f["imgs"][:].reshape(1100, 60) == (i * 131 + p * 7 + i * p % 5 + (i >> 8) * p * 3) % 256).all()
assert f["labels"].dtype == np.int64 and (f["labels"][:] == np.arange(1100) % 10).all()
assert f["imgs"].chunks is None and f["imgs"].compression is None
assert f["imgs"].id.get_offset() % 4096 == 0 and f["labels"].id.get_offset() % 4096 == 0
assert f.attrs["source"] == "a test" and f.attrs["resize"] == "none" and json.loads(f.attrs["label_map"]) == {"cat": 0}
assert f.attrs["format_version"] == "1" and len(f.attrs["labels_xxh3"]) == 32
assert f["xxh3"].shape == (2,) and all(len(h) == 32 for h in f["xxh3"])
)");
}

TEST(H5py, FilesInOurLayoutAreReadWithAndWithoutAUserblock) {
  const ScratchDirectory folder;
  tests::run_python(folder.path(), R"(
import h5py, numpy as np
i, p = np.arange(50)[:, None], np.arange(12)[None]
pixels = ((i * 131 + p * 7 + i * p % 5 + (i >> 8) * p * 3) % 256).astype(np.uint8).reshape(50, 3, 2, 2)
for name, options in {"plain.h5": {}, "block.h5": dict(userblock_size=4096), "new.h5": dict(libver="latest")}.items():
    with h5py.File(name, "w", **options) as f:
        f["imgs"] = pixels
        f["labels"] = (np.arange(50) % 10).astype(np.uint16)
        f.attrs["source"] = np.bytes_("fixed"); f.attrs["number"] = 7
)");
  for (const char* name : {"plain.h5", "block.h5", "new.h5"}) {
    const data::Dataset dataset = data::Dataset::open(folder / name);
    ASSERT_EQ(dataset.size(), 50);
    std::vector<uint8_t> pixels(12);
    for (int64_t i = 0; i < 50; ++i) {
      dataset.read(i, pixels);
      ASSERT_EQ(pixels, tests::pixels_of(i, {3, 2, 2})) << name;
      ASSERT_EQ(dataset.label(i), tests::label_of(i));
    }
    EXPECT_EQ(dataset.shards()[0].attribute("source"), "fixed");
    EXPECT_EQ(dataset.shards()[0].attribute("number"), "");
    EXPECT_EQ(dataset.fingerprint().files.size(), 32U);
  }
  EXPECT_NE(data::Dataset::open(folder / "plain.h5").fingerprint(),
            data::Dataset::open(folder / "block.h5").fingerprint());
}

// Opens the file that `lines` write with `f`, an h5py file that has good imgs (20,3,4,4) and labels (20,) unless they
// remove them.
void expect_file_refused(const std::string& lines, const std::vector<std::string>& words) {
  const ScratchDirectory folder;
  tests::run_python(folder.path(), R"(
import h5py, numpy as np
images, labels = np.zeros((20, 3, 4, 4), np.uint8), np.arange(20)
with h5py.File("bad.h5", "w") as f:
    f["imgs"], f["labels"] = images, labels
    def replace(name, **options):
        del f[name]
        return f.create_dataset(name, **options)
    )" + lines + "\n");
  std::vector<std::string> all = words;
  all.push_back("bad.h5");
  tests::expect_refusal([&] { Shard(folder / "bad.h5"); }, all);
}

TEST(H5py, FilesWithoutADatasetAreRefused) {
  expect_file_refused("del f['labels']", {"no dataset `labels`", "beside `imgs`", "Pack it: cfm_pack"});
  expect_file_refused("del f['imgs']; f['pictures'] = images", {"no dataset `imgs`", "labels, pictures"});
  expect_file_refused("del f['imgs']; f.create_group('imgs')", {"`imgs`", "not a dataset"});
}

TEST(H5py, FilesOfAnotherTypeAreRefused) {
  expect_file_refused("replace('imgs', data=images.astype(np.float32))", {"`imgs`", "float32", "uint8"});
  expect_file_refused("replace('imgs', data=images.astype(np.int8))", {"`imgs`", "int8", "uint8"});
  expect_file_refused("replace('imgs', data=images.astype(np.uint16))", {"`imgs`", "uint16", "uint8"});
  expect_file_refused("replace('labels', data=labels.astype(np.float64))", {"`labels`", "float64", "int64"});
  expect_file_refused("replace('labels', data=labels - 1)", {"`labels`", "label 0 is -1"});
}

TEST(H5py, FilesOfAnotherShapeAreRefused) {
  expect_file_refused("replace('labels', data=labels[:19])", {"`labels`", "19 labels for 20 images"});
  expect_file_refused("replace('labels', data=np.stack([labels, labels], 1))", {"`labels`", "(20,2)"});
  expect_file_refused("replace('imgs', data=images.reshape(20, 48)[:, :47])", {"`imgs`", "(20,47)", "(N,C,H,W)"});
  expect_file_refused("replace('imgs', data=np.zeros((20, 4, 4, 2), np.uint8))", {"`imgs`", "(20,4,4,2)", "(N,H,W,C)"});
  expect_file_refused("replace('imgs', data=images[:, None])", {"`imgs`", "(20,1,3,4,4)"});
  expect_file_refused("replace('imgs', data=images[:0])", {"`imgs`", "(0,3,4,4)"});
}

TEST(H5py, WhatIsNotWhollyInTheFileIsRefused) {
  expect_file_refused("replace('imgs', shape=images.shape, dtype=np.uint8)", {"`imgs`", "never written"});
  expect_file_refused("replace('imgs', shape=images.shape, dtype=np.uint8, external=[('out.bin', 0, 960)])",
                      {"`imgs`", "another file"});
  expect_file_refused("del f['imgs']; f['imgs'] = h5py.ExternalLink('other.h5', '/imgs')", {"`imgs`", "link"});
  expect_file_refused("del f['imgs']; f['imgs'] = h5py.SoftLink('/other')", {"`imgs`"});
  expect_file_refused("replace('imgs', shape=images.shape, dtype=np.uint8, chunks=(5, 3, 4, 4))[:5] = 1",
                      {"`imgs`", "only partly"});
  expect_file_refused(
      "layout = h5py.VirtualLayout(images.shape, np.uint8)\n    layout[:] = h5py.VirtualSource('b.h5', 'imgs', "
      "images.shape)\n    del f['imgs']; f.create_virtual_dataset('imgs', layout)",
      {"`imgs`", "virtual"});
  expect_file_refused("replace('labels', shape=(20,), dtype=np.int64)", {"`labels`", "never written"});
  expect_file_refused("f.create_dataset('encoded_images', (20,), h5py.vlen_dtype(np.uint8))",
                      {"encoded_images", "Fuel"});
}

TEST(H5py, AnUnwrittenDatasetBehindAUserblockIsRefused) {
  const ScratchDirectory folder;
  tests::run_python(folder.path(), R"(
import h5py, numpy as np
with h5py.File("bad.h5", "w", userblock_size=4096) as f:
    f.create_dataset("imgs", (20, 3, 4, 4), np.uint8); f["labels"] = np.arange(20)
)");
  tests::expect_refusal([&] { Shard(folder / "bad.h5"); }, {"bad.h5", "`imgs`", "never written"});
}

TEST(H5py, HashesAndVersionsThatDoNotFitAreRefused) {
  expect_file_refused("f['xxh3'] = np.array([b'0' * 32] * 2)", {"`xxh3`", "(1,)"});
  expect_file_refused("f['xxh3'] = np.array([b'0' * 31])", {"`xxh3`"});
  expect_file_refused("f['xxh3'] = 5", {"`xxh3`"});
  expect_file_refused("f.attrs['format_version'] = '2'", {"format_version 2", "reads 1"});
}

}  // namespace
}  // namespace cfm
