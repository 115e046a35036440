// What a packing keeps in memory, as the kernel counted it, does not depend on how large the set is.

#include <gtest/gtest.h>

#include <cstdlib>

#include "support/python.h"

namespace cfm {
namespace {

using tests::ScratchDirectory;

constexpr double kMegabytesOfAnImage = 3 * 64 * 64 / 1e6;
constexpr int kFew = 1000, kMany = 25000;  // 12 and 307 MB

// Megabytes that cfm_pack had resident at its most, given `arguments` (Python's strings) after `before` (Python too).
double peak_megabytes(const ScratchDirectory& folder, const std::string& before, const std::string& arguments) {
  tests::run_python(folder.path(), before);
  const std::string output =
      tests::run_python(folder.path(), "program, arguments = '" CFM_BIN_DIR "/cfm_pack', [" + arguments + R"(]
import os
null = os.open(os.devnull, os.O_WRONLY)
process = os.posix_spawn(program, ['cfm_pack'] + arguments, os.environ,
                         file_actions=[(os.POSIX_SPAWN_DUP2, null, 1), (os.POSIX_SPAWN_DUP2, null, 2)])
_, status, usage = os.wait4(process, 0)
assert status == 0
print(usage.ru_maxrss * 1024 / 1e6)
)");
  return std::strtod(output.c_str(), nullptr);
}

// Of packing so many images; `make` is Python that writes them, x, to the file `name`.
double peak_of_packing(const ScratchDirectory& folder, int images, const std::string& name, const std::string& make) {
  const double peak = peak_megabytes(folder, "images = " + std::to_string(images) + R"(
import shutil
import numpy as np
shutil.rmtree('out', ignore_errors=True)
x = np.lib.format.open_memmap('x.npy', 'w+', np.uint8, (images, 3, 64, 64))
x[:] = np.arange(len(x), dtype=np.uint8)[:, None, None, None]
)" + make,
                                     "'--source=" + name + "', '--out=out', '--shards=3'");
  uintmax_t bytes = 0;
  for (const auto& file : std::filesystem::directory_iterator(folder / "out/train")) bytes += file.file_size();
  EXPECT_GT(static_cast<double>(bytes), images * kMegabytesOfAnImage * 1e6) << "it is not all there";
  return peak;
}

void expect_no_growth(const std::string& name, const std::string& make) {
  const ScratchDirectory folder;
  const double few = peak_of_packing(folder, kFew, name, make), many = peak_of_packing(folder, kMany, name, make);
  EXPECT_GT(few, 10) << "a program takes more than that: nothing was measured";
  EXPECT_LT(many - few, 0.2 * (kMany - kFew) * kMegabytesOfAnImage);
}

// Of cfm_pack --inspect, which lists all images and reads the first, of so many names of a few pictures in `kind`.
double peak_of_listing(const ScratchDirectory& folder, int names, const std::string& kind) {
  return peak_megabytes(folder, "names, kind = " + std::to_string(names / 100) + ", '" + kind + R"('
import os, shutil, tarfile
from PIL import Image
shutil.rmtree('tree', ignore_errors=True)
for c in range(100):
    os.makedirs(f'tree/n{c:08}')
    Image.new('RGB', (4, 4), (c, 0, 0)).save(f'tree/n{c:08}/n{c:08}_0.JPEG')
    for i in range(1, names):
        os.link(f'tree/n{c:08}/n{c:08}_0.JPEG', f'tree/n{c:08}/n{c:08}_{i}.JPEG')
if kind == 'tree.tar':
    with tarfile.open('tree.tar', 'w', dereference=True) as tar: tar.add('tree', 'tree')
)",
                        "'--inspect', '" + kind + "'");
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
