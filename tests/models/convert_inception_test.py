"""scripts/convert_inception.py, from a state dict of pytorch-fid's own modules under made-up weights, and from what is none."""

import contextlib
import hashlib
import importlib.util
import io
import json
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import pytorch_fid.inception
import torch

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "convert_inception.py"


def script():
    spec = importlib.util.spec_from_file_location("convert_inception", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def public_state():
    """As pt_inception-2015-12-05-6726825d.pth has it: that one is of an older PyTorch, without counts of batches. Here are some, and a second head."""
    torch.manual_seed(5)
    with mock.patch.object(pytorch_fid.inception, "load_state_dict_from_url", lambda *_, **__: {}), \
            mock.patch.object(torch.nn.Module, "load_state_dict", lambda *_, **__: None):
        state = dict(pytorch_fid.inception.fid_inception_v3().state_dict())
    for name, tensor in state.items():
        if tensor.is_floating_point():
            state[name] = torch.randn(tensor.shape)
    return {**state, "AuxLogits.fc.weight": torch.randn(1008, 768)}


def tensors_by_bytes(file):
    """Name to (type, shape, bytes), and the metadata: by docs/formats.md, not by the library that wrote it."""
    data = file.read_bytes()
    start = 8 + struct.unpack_from("<Q", data)[0]
    header = json.loads(data[8:start])
    metadata = header.pop("__metadata__")
    found = {}
    for name, entry in header.items():
        first, last = (start + offset for offset in entry["data_offsets"])
        found[name] = (entry["dtype"], entry["shape"], data[first:last])
    return found, metadata


class ConvertInception(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder, cls.state, cls.script = Path(folder.name), public_state(), script()
        # The same names and shapes in a small file: each tensor is one number, repeated.
        cls.small = {name: torch.zeros((), dtype=tensor.dtype).expand(tensor.shape) for name, tensor in cls.state.items()}
        cls.out = cls.folder / "out.safetensors"

    def tearDown(self):
        self.out.unlink(missing_ok=True)

    def saved(self, content, name="weights.pth"):
        torch.save(content, self.folder / name)
        return self.folder / name

    def convert(self, pth, out=None):
        """Exit code, and what it said."""
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            code = self.script.main([str(pth), str(out or self.out)])
        return code, said.getvalue()

    def assert_refused(self, pth, *words, out=None):
        code, said = self.convert(pth, out)
        self.assertEqual(code, 2, said)
        for word in (pth if out is None else out, *words):
            self.assertIn(str(word), said)
        self.assertFalse(self.out.exists())

    def test_names_shapes_and_bytes_come_through(self):
        pth = self.saved(self.state)
        finished = subprocess.run([sys.executable, "-B", SCRIPT, pth, self.out], capture_output=True, text=True, timeout=120)
        self.assertEqual(finished.returncode, 0, finished.stderr)
        found, metadata = tensors_by_bytes(self.out)
        expected = {name: tensor for name, tensor in self.state.items() if "num_batches" not in name and "Aux" not in name}
        self.assertEqual(len(expected), 94 * 5 + 2)
        self.assertEqual(set(found), set(expected))
        for name, tensor in expected.items():
            self.assertEqual(found[name], ("F32", list(tensor.shape), tensor.numpy().tobytes()), name)
        digest = hashlib.sha256(pth.read_bytes()).hexdigest()
        self.assertEqual((metadata["cfm_features"], metadata["source_sha256"]), ("inception", digest))
        self.assertIn("472 tensors", finished.stdout)
        self.assertIn(f"is not the public file (SHA-256 {digest})", finished.stdout)

    def test_layout_and_precision_of_a_tensor_do_not_matter(self):
        name = "Mixed_5b.branch5x5_2.conv.weight"
        other = {**self.state, name: self.state[name].double().to(memory_format=torch.channels_last)}
        self.assertEqual(self.convert(self.saved(other))[0], 0)
        self.assertEqual(tensors_by_bytes(self.out)[0][name], ("F32", list(other[name].shape), self.state[name].numpy().tobytes()))

    def test_another_network_is_refused_by_names_and_shapes(self):
        self.assert_refused(self.saved({"conv1.weight": torch.zeros(64, 3, 7, 7), "fc.weight": torch.zeros(1000, 2048)}), "not the FID's Inception-v3",
                            "Conv2d_1a_3x3.conv.weight is missing, expected [32, 3, 3, 3]", "fc.weight is [1000, 2048], expected [1008, 2048]", "more")
        torchvision = {**self.small, "fc.weight": torch.zeros(1000, 2048), "fc.bias": torch.zeros(1000)}
        self.assert_refused(self.saved(torchvision), "fc.weight is [1000, 2048], expected [1008, 2048]; fc.bias is [1000], expected [1008]")
        without = {name: tensor for name, tensor in self.small.items() if name != "Mixed_6b.branch1x1.bn.running_var"}
        self.assert_refused(self.saved(without), "Mixed_6b.branch1x1.bn.running_var is missing, expected [192]")
        fewer = {name: tensor for name, tensor in self.small.items() if not name.startswith("Mixed_6b.branch1x1.")}
        self.assert_refused(self.saved(fewer), "there are 93 convolutions, expected 94")
        self.assert_refused(self.saved({**self.small, "fc.scale": torch.zeros(1)}), "fc.scale is not expected")

    def test_what_is_no_state_dict_is_refused(self):
        self.assert_refused(self.saved(torch.zeros(3)), "holds a Tensor, expected a state dict")
        self.assert_refused(self.saved([self.small]), "holds a list, expected a state dict")
        self.assert_refused(self.saved({"model": self.small, "step": 3}), "'model' is a dict, expected a tensor of real numbers: give the state dict itself")
        self.assert_refused(self.saved({**self.small, "fc.bias": torch.zeros(1008, dtype=torch.long)}), "'fc.bias' is a tensor of torch.int64")

    def test_what_is_no_file_of_pytorch_is_refused(self):
        whole = self.saved(self.small).read_bytes()
        for name, data in (("torn", whole[: len(whole) // 2]), ("empty", b""), ("text", b"<html>404</html>\n")):
            (self.folder / name).write_bytes(data)
            self.assert_refused(self.folder / name, "no PyTorch file")
        self.assert_refused(self.folder / "nowhere.pth", "No such file")
        self.assert_refused(self.folder, "Is a directory")

    def test_code_in_a_file_is_not_run(self):
        mark = self.folder / "mark"

        class Code:
            def __reduce__(self):
                return Path.touch, (mark,)

        self.assert_refused(self.saved({"fc.weight": Code()}), "without running code")
        self.assertFalse(mark.exists())

    def test_a_place_that_cannot_be_written_is_refused(self):
        self.assert_refused(self.saved(self.small), "cannot be written", out=self.folder / "none" / "out.safetensors")

    def test_a_refusal_ends_the_script_with_2(self):
        for words in ([self.saved(torch.zeros(3)), self.out], [], ["--what", "a", "b"]):
            finished = subprocess.run([sys.executable, "-B", SCRIPT, *words], capture_output=True, text=True, timeout=120)
            self.assertEqual(finished.returncode, 2, finished.stdout + finished.stderr)
            self.assertNotIn("Traceback", finished.stderr)


if __name__ == "__main__":
    unittest.main()
