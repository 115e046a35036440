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

// Peak of cfm_pack --inspect, which lists all images and reads the first, of so many names of a few pictures in `kind`.
double peak_of_listing(const ScratchDirectory& folder, int names, const std::string& kind) {
  tests::run_python(folder.path(),
                    "import os, shutil, tarfile\nfrom PIL import Image\n"
                    "shutil.rmtree('tree', ignore_errors=True)\n"
                    "for c in range(100):\n"
                    "    os.makedirs(f'tree/n{c:08}')\n"
                    "    Image.new('RGB', (4, 4), (c, 0, 0)).save(f'tree/n{c:08}/n{c:08}_0.JPEG')\n"
                    "    for i in range(1, " +
                        std::to_string(names / 100) +
                        "):\n"
                        "        os.link(f'tree/n{c:08}/n{c:08}_0.JPEG', f'tree/n{c:08}/n{c:08}_{i}.JPEG')\n"
                        "if '" +
                        kind +
                        "' == 'tree.tar':\n"
                        "    with tarfile.open('tree.tar', 'w', dereference=True) as tar: tar.add('tree', 'tree')\n");
  const std::string output = tests::run_python(
      folder.path(),
      "import os\n"
      "null = os.open(os.devnull, os.O_WRONLY)\n"
      "process = os.posix_spawn('" CFM_BIN_DIR "/cfm_pack', ['cfm_pack', '--inspect', '" +
          kind +
          "'], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, null, 1), (os.POSIX_SPAWN_DUP2, null, 2)])\n"
          "_, status, usage = os.wait4(process, 0)\n"
          "assert status == 0\nprint(usage.ru_maxrss * 1024 / 1e6)\n");
  return std::strtod(output.c_str(), nullptr);
}

TEST(PackingMemory, GrowsByNoMoreThanTheNamesOfAFoldersImages) {
  const ScratchDirectory folder;
  const double few = peak_of_listing(folder, 1'000, "tree"), many = peak_of_listing(folder, 101'000, "tree");
  EXPECT_LT((many - few) * 1e6 / 100'000, 100) << "bytes an image; its name here has 20";
}

TEST(PackingMemory, GrowsByNoMoreThanTheNamesOfATarsImages) {
  const ScratchDirectory folder;
  const double few = peak_of_listing(folder, 1'000, "tree.tar"), many = peak_of_listing(folder, 31'000, "tree.tar");
  EXPECT_LT((many - few) * 1e6 / 30'000, 400) << "bytes an image; its path here has 36, its header 512";
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
