"""Every script refuses a flag that it does not know, or too few arguments: exit code 2, before it does anything."""

import os
import subprocess
import tempfile
import unittest
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
REFUSED = {
    "bench": [["--seconds=1"], ["nothing"]],
    "build_libraries": [[], ["--archives=x"], ["PREFIX", "--what"], ["PREFIX", "--archives=x", "--what"]],
    "check": [["--what"], ["file.cpp"]],
    "demo": [["--what"]],
    "document_flags": [["--what"], ["nowhere"]],
    "fuzz": [[], ["--what"]],
    "monitor": [["--what"]],
    "report": [[], ["--what", "RUN"], ["RUN", "--out"]],
    "reproduce_2d": [["--what"], ["--seeds=0"], ["--seed=1"]],
    "reproduce_digits": [["--what"], ["--steps=0"], ["--methods=none"]],
    "sanitize": [["--what"]],
    "setup": [["--what"], ["--tests", "--what"], ["--no-root", "--what"], ["--no-root", "--gpu", "--tests"]],
    "test": [["--device=none"], ["--devices=cpu"]],
    "verify_resume": [[], ["--what", "--", "cfm_train"], ["--steps=3", "--", "cfm_train"]],
}
# They need more than python3; or take files' names alone.
ELSEWHERE = {"convert_inception.py", "convert_state_dict.py", "make_digits.py", "train_digit_features.py", "clang_tidy.py"}


class Refusals(unittest.TestCase):
    def test_every_script_is_here(self):
        self.assertEqual({file.name for file in SCRIPTS.iterdir() if file.is_file()}, {*REFUSED, *ELSEWHERE})

    def test_what_a_script_does_not_know_ends_it_with_2(self):
        for name, commands in REFUSED.items():
            for words in commands:
                with self.subTest(script=name, arguments=words), tempfile.TemporaryDirectory() as folder:
                    finished = subprocess.run([SCRIPTS / name, *words], cwd=folder, capture_output=True, text=True, timeout=60,
                                              env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "HOME": folder, "XDG_CACHE_HOME": folder, "CFM_CACHE": folder})
                    self.assertEqual(finished.returncode, 2, finished.stdout + finished.stderr)
                    self.assertTrue(finished.stdout + finished.stderr)
                    self.assertNotIn("Traceback", finished.stderr)
                    self.assertEqual(list(Path(folder).iterdir()), [], "nothing is made")


if __name__ == "__main__":
    unittest.main()
