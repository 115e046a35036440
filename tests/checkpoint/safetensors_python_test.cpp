// Our safetensors files against the reference implementation: the Python package.
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "checkpoint/safetensors.h"
#include "support/file_bytes.h"
#include "support/scratch_directory.h"
#include "support/subprocess.h"

namespace cfm::checkpoint {
namespace {

test::CommandResult run_python(const tests::ScratchDirectory& scratch, const std::string& program) {
  const std::filesystem::path script = scratch.write("script.py", program);
  return test::run_command(std::string(CFM_PYTHON) + " " + script.string() + " " +
                           (scratch.path() / "x.safetensors").string());
}

TEST(PythonsSafetensors, ReadsOurFiles) {
  const tests::ScratchDirectory scratch;
  const at::Tensor image = at::arange(2 * 3 * 4 * 5, at::kFloat).reshape({2, 3, 4, 5});
  write_safetensors(scratch.path() / "x.safetensors",
                    {{"out.2.weight", image.contiguous(at::MemoryFormat::ChannelsLast)},
                     {"bytes", at::arange(3, at::kByte)},
                     {"half", at::arange(4, at::kBFloat16)},
                     {"double", at::arange(2, at::kDouble).mul(1. / 3)},
                     {"step", at::arange(7, 8, at::kLong).reshape({})},
                     {"empty", at::empty({0, 3})}},
                    {{"format", "pt"}, {"path", "ot \"quoted\" \u03c3"}});
  const test::CommandResult result = run_python(scratch, R"(
import sys, torch
from safetensors import safe_open
with safe_open(sys.argv[1], framework="pt") as f:
    assert f.metadata() == {"format": "pt", "path": "ot \"quoted\" \u03c3"}, f.metadata()
    t = {k: f.get_tensor(k) for k in f.keys()}
assert sorted(t) == sorted(["out.2.weight", "bytes", "half", "double", "step", "empty"]), t.keys()
w = t["out.2.weight"]
assert w.dtype == torch.float32 and all(w[i, j, k, l] == ((i * 3 + j) * 4 + k) * 5 + l for i in range(2) for j in range(3) for k in range(4) for l in range(5))
assert t["bytes"].dtype == torch.uint8 and t["bytes"].tolist() == [0, 1, 2]
assert t["half"].dtype == torch.bfloat16 and t["half"].tolist() == [0, 1, 2, 3]
assert t["double"].dtype == torch.float64 and t["double"].tolist() == [0, 1 / 3]
assert t["step"].dtype == torch.int64 and t["step"].shape == () and t["step"].item() == 7
assert t["empty"].shape == (0, 3)
)");
  EXPECT_EQ(result.exit_code, 0) << result.output;
}

TEST(PythonsSafetensors, WritesFilesThatWeRead) {
  const tests::ScratchDirectory scratch;
  const test::CommandResult result = run_python(scratch, R"(
import sys, torch
from safetensors.torch import save_file
save_file({"b": torch.arange(6, dtype=torch.float32).reshape(2, 3), "a": torch.arange(3, dtype=torch.uint8),
           "h": torch.tensor([1.5, -2], dtype=torch.float16), "n": torch.tensor(-5), "e": torch.zeros(0, 2)},
          sys.argv[1], metadata={"model": "x"})
)");
  ASSERT_EQ(result.exit_code, 0) << result.output;
  const SafetensorsFile file = read_safetensors(scratch.path() / "x.safetensors");
  EXPECT_EQ(file.metadata, (Metadata{{"model", "x"}}));
  const std::map<std::string, at::Tensor> tensors(file.tensors.begin(), file.tensors.end());
  ASSERT_EQ(tensors.size(), 5U);
  EXPECT_TRUE(at::equal(tensors.at("b"), at::arange(6, at::kFloat).reshape({2, 3})));
  EXPECT_TRUE(at::equal(tensors.at("a"), at::arange(3, at::kByte)));
  EXPECT_EQ(tensors.at("h").scalar_type(), at::kHalf);
  EXPECT_EQ(tensors.at("h")[0].item<float>(), 1.5F);
  EXPECT_EQ(tensors.at("h")[1].item<float>(), -2.F);
  EXPECT_EQ(tensors.at("n").item<int64_t>(), -5);
  EXPECT_EQ(tensors.at("e").sizes(), (std::vector<int64_t>{0, 2}));
}

// What they refuse, we refuse: the same damaged files, judged by both.
TEST(PythonsSafetensors, RefusesTheFilesThatWeRefuse) {
  const tests::ScratchDirectory scratch;
  const std::filesystem::path file = scratch.path() / "x.safetensors";
  write_safetensors(file, {{"a", at::arange(2, at::kFloat)}, {"b", at::arange(3, at::kFloat)}}, {});
  const std::string whole = test::bytes_of(file);
  const auto replaced = [&](const std::string& from, const std::string& to) {
    std::string bytes = whole;
    return bytes.replace(bytes.find(from), from.size(), to);
  };
  const std::vector<std::string> damaged{whole.substr(0, whole.size() - 1),
                                         whole + "x",
                                         replaced("[8,20]", "[4,16]"),
                                         replaced("[3]", "[4]"),
                                         replaced("F32", "F9Z"),
                                         std::string(16, '\xff')};
  for (size_t i = 0; i < damaged.size(); ++i) {
    const std::filesystem::path copy = file.string() + "." + std::to_string(i);
    test::put_bytes(copy, damaged[i]);
    EXPECT_THROW(read_safetensors(copy), Error) << i;
  }
  const test::CommandResult result = run_python(scratch, R"(
import sys
from safetensors import safe_open, SafetensorError
for i in range(6):
    try:
        with safe_open(f"{sys.argv[1]}.{i}", framework="np") as f:
            sys.exit(f"file {i} was accepted")
    except SafetensorError:
        pass
)");
  EXPECT_EQ(result.exit_code, 0) << result.output;
}

}  // namespace
}  // namespace cfm::checkpoint
