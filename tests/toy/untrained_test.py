"""cfm_checkerboard before its first step: the network says 0, so each method's flow is linear and its likelihood has a closed form."""

import json
import math
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from reporting.npz import read_npz  # noqa: E402

PROGRAM = Path(os.environ.get("CFM_BIN", ROOT / "build/cpu/bin")) / "cfm_checkerboard"
COUNT = 40


class Untrained(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.out = Path(folder.name)

    def measured(self, *arguments):
        """(x, y), log p of each held-out point; and the result."""
        command = [PROGRAM, *arguments, "--steps=0", "--width=8", "--count=0", f"--nll_count={COUNT}", "--tolerance=1e-6", "--net_batch=16", f"--out={self.out}"]
        finished = subprocess.run(command, capture_output=True, text=True, timeout=100)
        self.assertEqual(finished.returncode, 0, finished.stderr)
        arrays = read_npz(self.out / "points.npz")
        self.assertEqual(set(arrays), {"points", "log_p", "points_nfe"})
        points, log_p = arrays["points"].values, list(arrays["log_p"].values)
        self.assertEqual(len(log_p), COUNT)
        return list(zip(points[::2], points[1::2])), log_p, json.loads((self.out / "result.json").read_text())

    def test_a_velocity_of_zero_leaves_the_prior(self):
        for path in ("ot", "vp"):
            points, log_p, result = self.measured(f"--path={path}", "--seed=3")
            for (x, y), found in zip(points, log_p):
                self.assertAlmostEqual(found, -math.log(2 * math.pi) - (x * x + y * y) / 2, 5)
            self.assertAlmostEqual(result["nll_nats"], -sum(log_p) / COUNT, 12)

    def test_a_noise_estimate_of_zero_scales_the_prior(self):
        # v = (alpha'/alpha) x: x(0) = x alpha(0)/alpha(1), and log p loses 2 ln(alpha(1)/alpha(0)); for vp alpha(1) = 1 up to 1e-6 and
        # alpha(0) = exp(-T/2) with T = 0.1 + (20 - 0.1)/2 = 10.05
        for arguments in (["--objective=ddpm"], ["--objective=sm"], ["--objective=scoreflow", "--time_sampling=likelihood"]):
            points, log_p, _ = self.measured("--path=vp", *arguments)
            for (x, y), found in zip(points, log_p):
                self.assertAlmostEqual(found, -math.log(2 * math.pi) - math.exp(-10.05) * (x * x + y * y) / 2 - 10.05, 3)

    def test_held_out_points_follow_the_seed_alone(self):
        first, again, other = [self.measured(*arguments)[0] for arguments in (["--seed=1"], ["--seed=1", "--path=vp", "--objective=sm"], ["--seed=2"])]
        self.assertEqual(first, again)
        self.assertNotEqual(first, other)

    def test_what_does_not_go_together_is_refused(self):
        finished = subprocess.run([PROGRAM, "--objective=sm", "--nll_count=1", "--out=" + str(self.out)], capture_output=True, text=True, timeout=100)
        self.assertEqual(finished.returncode, 2)
        for words in ("--objective=sm does not go with --path=ot", "--nll_count=1"):
            self.assertIn(words, finished.stderr)


if __name__ == "__main__":
    unittest.main()
