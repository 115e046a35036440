// Arrays between us and numpy, both ways.

#include <gtest/gtest.h>

#include <algorithm>

#include "data/npz.h"
#include "support/python.h"

namespace cfm {
namespace {

using data::NumpyArray;

TEST(Numpy, ReadsWhatWeWrite) {
  const tests::ScratchDirectory folder;
  NumpyArray images{"|u1", {3, 2, 2, 3}, {}};
  for (int i = 0; i < 36; ++i) images.bytes.push_back(static_cast<uint8_t>(i * 7));
  data::write_npz(folder / "a.npz",
                  {{"arr_0", images},
                   {"arr_1", {"<i8", {2}, {1, 0, 0, 0, 0, 0, 0, 0, 254, 255, 255, 255, 255, 255, 255, 255}}},
                   {"scalar", {"<i4", {}, {7, 1, 0, 0}}}});
  tests::run_python(folder.path(), R"(
import numpy as np, zipfile
a = np.load("a.npz", allow_pickle=False)
assert sorted(a.files) == ["arr_0", "arr_1", "scalar"]
assert a["arr_0"].dtype == np.uint8 and a["arr_0"].flags.c_contiguous
assert (a["arr_0"] == (np.arange(36) * 7 % 256).reshape(3, 2, 2, 3)).all()
assert a["arr_1"].dtype == np.int64 and a["arr_1"].tolist() == [1, -2]
assert a["scalar"].shape == () and a["scalar"] == 263
assert all(e.compress_type == zipfile.ZIP_STORED for e in zipfile.ZipFile("a.npz").infolist())
assert zipfile.ZipFile("a.npz").testzip() is None
)");
}

TEST(Numpy, WritesWhatWeRead) {
  const tests::ScratchDirectory folder;
  tests::run_python(folder.path(), R"(
import numpy as np
i = (np.arange(5 * 4 * 6) * 11 % 256).astype(np.uint8).reshape(5, 4, 6)
np.savez("stored.npz", images=i, labels=np.array([-3, 0, 2**40, 7, 9]))
np.savez_compressed("deflated.npz", i, np.array([1, 2, 3, 4, 70000], dtype=np.int32))
np.save("plain.npy", i)
np.lib.format.write_array(open("v2.npy", "wb"), i, version=(2, 0))
np.save("fortran.npy", np.asfortranarray(i))
np.save("float.npy", i.astype(np.float32))
)");
  std::vector<uint8_t> expected;
  for (int i = 0; i < 120; ++i) expected.push_back(static_cast<uint8_t>(i * 11));
  const auto stored = data::read_npz(folder / "stored.npz");
  EXPECT_EQ(stored.at("images").bytes, expected);
  EXPECT_EQ(stored.at("images").shape, (std::vector<int64_t>{5, 4, 6}));
  EXPECT_EQ(stored.at("labels").as_int64(), (std::vector<int64_t>{-3, 0, int64_t{1} << 40, 7, 9}));
  const auto deflated = data::read_npz(folder / "deflated.npz");
  EXPECT_EQ(deflated.at("arr_0").bytes, expected);
  EXPECT_EQ(deflated.at("arr_1").as_int64(), (std::vector<int64_t>{1, 2, 3, 4, 70000}));
  EXPECT_EQ(data::read_npy(folder / "plain.npy").bytes, expected);
  EXPECT_EQ(data::read_npy(folder / "v2.npy").bytes, expected);
  tests::expect_refusal([&] { data::read_npy(folder / "fortran.npy"); }, {"fortran.npy", "Fortran"});
  tests::expect_refusal([&] { data::read_npy(folder / "float.npy"); }, {"float.npy", "<f4"});
}

}  // namespace
}  // namespace cfm
