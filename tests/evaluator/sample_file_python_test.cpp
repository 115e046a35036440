// What numpy.load, and so ADM's evaluator, makes of our .npz.
#include <ATen/ops/arange.h>
#include <gtest/gtest.h>

#include "evaluator/sample_file.h"
#include "support/scratch_directory.h"
#include "support/subprocess.h"

namespace cfm::evaluator {
namespace {

TEST(SampleFile, IsReadByNumpyAsAdmsEvaluatorExpectsIt) {
  const tests::ScratchDirectory scratch;
  const std::filesystem::path file = scratch.path() / "x.npz";
  write_samples(file, at::arange(4 * 3 * 2 * 5, at::kByte).reshape({4, 3, 2, 5}), {0, 1, 2, 3}, {});
  const std::filesystem::path script = scratch.write("script.py", R"(
import sys, numpy as np
with np.load(sys.argv[1], allow_pickle=False) as z:
    assert z.files == ["arr_0", "arr_1"], z.files
    expected = np.arange(120, dtype=np.uint8).reshape(4, 3, 2, 5).transpose(0, 2, 3, 1)
    assert z["arr_0"].dtype == np.uint8 and np.array_equal(z["arr_0"], expected)
    assert z["arr_1"].dtype == np.int64 and z["arr_1"].tolist() == [0, 1, 2, 3]
)");
  const test::CommandResult result =
      test::run_command(std::string(CFM_PYTHON) + " " + script.string() + " " + file.string());
  EXPECT_EQ(result.exit_code, 0) << result.output;
}

}  // namespace
}  // namespace cfm::evaluator
