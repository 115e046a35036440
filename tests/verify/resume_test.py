"""scripts/verify_resume as a user runs it: on a resume that is exact, on one that is not, and on checkpoints that differ in one bit."""

import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("CFM_BIN", str(ROOT / "build/cpu/bin")))
SCRIPT = ROOT / "scripts" / "verify_resume"
MPIRUN = ["mpirun", "-n", "2", "--oversubscribe", "--bind-to", "none"]

# Trains with another learning rate where the run has a checkpoint: a resume that is not exact.
OTHER_RESUME = """#!/bin/sh
for word in "$@"; do case $word in --run_dir=*) run=${word#--run_dir=} ;; esac; done
[ -d "$run/checkpoints" ] && exec "$@" --lr=1e-2
exec "$@" --lr=1e-3
"""


# Trains from nothing, whatever there is: the same bits without a resume.
NO_RESUME = """#!/bin/sh
for word in "$@"; do case $word in --run_dir=*) rm -rf "${word#--run_dir=}" ;; esac; done
exec "$@"
"""


def verify(*words):
    return subprocess.run([sys.executable, "-B", str(SCRIPT), *map(str, words)], capture_output=True, text=True, timeout=300)


class VerifyResume(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory()
        cls.folder = Path(cls.scratch.name)
        subprocess.run([BIN / "cfm_pack", f"--source={ROOT / 'configs/digits/digits.npz'}", f"--out={cls.folder}", "--split=train", "--count=100",
                        "--grey_levels=17"], check=True, capture_output=True)
        flags = cls.folder / "tiny.flags"
        flags.write_text("\n".join((f"--train_data={cls.folder / 'train'}", f"--run_dir={cls.folder / 'mine'}", "--steps=100000", "--warmup_steps=500",
                                    "--global_batch=20", "--model_channels=32", "--num_res_blocks=1", "--channel_mult=1,2", "--attention_resolutions=4",
                                    "--num_head_channels=32", "--dropout=0.1", "--horizontal_flip=false", "--threads=1", "--checkpoint_every=7")))
        cls.train = [str(BIN / "cfm_train"), f"--flagfile={flags}"]

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    def script(self, name, text):
        file = self.folder / name
        file.write_text(text)
        file.chmod(0o755)
        return file

    def test_an_exact_resume_is_said_to_be_the_same_bits_and_nothing_is_left(self):
        work = self.folder / "exact"
        done = verify("--steps=40", f"--work={work}", "--", *MPIRUN, *self.train)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("stopped by a signal after step 2", done.stdout)  # of 40: some step from 20 on
        self.assertIn("the same bits: ema_0.9999.safetensors, exp_avg.safetensors, exp_avg_sq.safetensors, model.safetensors of step 40", done.stdout)
        self.assertFalse(work.exists())
        self.assertFalse((self.folder / "mine").exists(), "the user's own run was touched")

    def test_a_resume_that_trains_otherwise_is_found_and_told_from_a_machine_that_does_not_repeat_itself(self):
        done = verify("--steps=24", f"--work={self.folder / 'other'}", "--", self.script("other_resume", OTHER_RESUME), *self.train)
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertRegex(done.stdout, r"NOT the same bits: model.safetensors: tensor \S+ \[.*\] differs in \d+ of \d+ numbers, first in number \d+: ")
        self.assertRegex(done.stdout, r"losses differ from step 1\d on")
        self.assertIn("it is the resume that is not exact", done.stdout)
        self.compare_a_flipped_bit(self.folder / "other/in_one_go/checkpoints/step_000000024")

    def test_a_run_that_begins_again_from_nothing_is_no_resume(self):
        done = verify("--steps=24", f"--work={self.folder / 'again'}", "--", self.script("no_resume", NO_RESUME), *self.train)
        self.assertEqual(done.returncode, 2, done.stdout + done.stderr)
        self.assertRegex(done.stderr, r"was to continue at step 1\d, and began from nothing")

    def compare_a_flipped_bit(self, checkpoint):
        """In the last byte of the second moments: the last tensor of that file is named."""
        other = self.folder / "flipped"
        subprocess.run(["cp", "-r", checkpoint, other], check=True)
        self.assertEqual(verify("--compare", checkpoint, other).returncode, 0)
        file = other / "exp_avg_sq.safetensors"
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
        done = verify("--compare", checkpoint, other)
        self.assertEqual(done.returncode, 1)
        self.assertIn("exp_avg_sq.safetensors: tensor out.2.bias [1] differs in 1 of 1 numbers", done.stdout)

    def test_what_cannot_be_tried_is_refused(self):
        for words, said in (((), "there is no LAUNCH"), (("--", "true"), "starts no cfm_train"),
                            (("--steps=8", f"--work={self.folder / 'bad'}", "--", *self.train, "--lr=-1"), "--lr=-1"),
                            ((f"--work={self.folder}", "--", *self.train), "is there already")):
            with self.subTest(said):
                done = verify(*words)
                self.assertEqual(done.returncode, 2, done.stdout + done.stderr)
                self.assertIn(said, done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
