// What a packing keeps in memory, as the kernel counted it, does not depend on how large the set is.

#include <gtest/gtest.h>

#include <cstdlib>

#include "support/python.h"

namespace cfm {
namespace {

using tests::ScratchDirectory;

constexpr double kMegabytesOfAnImage = 3 * 64 * 64 / 1e6;
constexpr int kFew = 1000, kMany = 25000;  // 12 and 307 MB

// Megabytes that cfm_pack had resident at its most; `make` is Python that writes the images x to the file `name`.
double peak_megabytes(const ScratchDirectory& folder, int images, const std::string& name, const std::string& make) {
  tests::run_python(folder.path(),
                    "import numpy as np\n"
                    "x = np.lib.format.open_memmap('x.npy', 'w+', np.uint8, (" +
                        std::to_string(images) +
                        ", 3, 64, 64))\n"
                        "x[:] = np.arange(len(x), dtype=np.uint8)[:, None, None, None]\n" +
                        make);
  const std::string output =
      tests::run_python(folder.path(),
                        "import os, shutil\n"
                        "shutil.rmtree('out', ignore_errors=True)\n"
                        "null = os.open(os.devnull, os.O_WRONLY)\n"
                        "process = os.posix_spawn('" CFM_BIN_DIR "/cfm_pack', ['cfm_pack', '--source=" +
                            name +
                            "', '--out=out', '--shards=3'], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, null, 1), "
                            "(os.POSIX_SPAWN_DUP2, null, 2)])\n"
                            "_, status, usage = os.wait4(process, 0)\n"
                            "assert status == 0\n"
                            "assert sum(e.stat().st_size for e in os.scandir('out/train')) > " +
                            std::to_string(images) + " * 3 * 64 * 64\nprint(usage.ru_maxrss * 1024 / 1e6)\n");
  return std::strtod(output.c_str(), nullptr);
}

void expect_no_growth(const std::string& name, const std::string& make) {
  const ScratchDirectory folder;
  const double few = peak_megabytes(folder, kFew, name, make), many = peak_megabytes(folder, kMany, name, make);
  EXPECT_GT(few, 10) << "a program takes more than that: nothing was measured";
  EXPECT_LT(many - few, 0.2 * (kMany - kFew) * kMegabytesOfAnImage);
}

TEST(PackingMemory, DoesNotGrowWithAnArrayThatIsReadInPlace) { expect_no_growth("x.npy", ""); }

TEST(PackingMemory, DoesNotGrowWithAnArrayThatIsInflatedFirst) {
  expect_no_growth("x.npz", "np.savez_compressed('x.npz', images=x)\n");
}

TEST(PackingMemory, DoesNotGrowWithAnHdf5FileThatIsReadInOnePass) {
  expect_no_growth(
      "x.h5",
      "import h5py\n"
      "with h5py.File('x.h5', 'w') as f:\n"
      "    f.create_dataset('imgs', data=x, chunks=(128, 3, 64, 64), compression='gzip', compression_opts=1)\n"
      "    f['labels'] = np.zeros(len(x), np.int64)\n");
}

}  // namespace
}  // namespace cfm
