"""scripts/reproduce_digits, tiny, as a user runs it: stopped, continued, done again; and its table beside the programs' own files."""

import csv
import json
import os
import re
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from reporting.bad_input import BadInput  # noqa: E402
from reproducing.methods import METHODS  # noqa: E402
from reproducing.run import Run  # noqa: E402
from reproducing.tables import in_words, mean_and_deviation  # noqa: E402

BIN = os.environ.get("CFM_BIN", str(ROOT / "build/cpu/bin"))
TINY = ("--steps=40 --global_batch=16 --model_channels=32 --checkpoints=2 --test_images=6 --fid_samples=40 --tolerance=0.1 --nll_tolerance=0.2 "
        "--methods=ddpm,ot --seeds=3,5 --jobs=2").split()


def command(*arguments):
    return [sys.executable, "-B", str(ROOT / "scripts" / "reproduce_digits"), *map(str, arguments)]


def reproduce(*arguments):
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=300)


class DigitsTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name) / "digits"


class TinyComparison(DigitsTest):
    def test_it_stops_continues_and_agrees_with_the_programs_files(self):
        tiny = (self.folder, f"--bin={BIN}", *TINY)
        self.stop_in_the_first_training(tiny)
        continued = reproduce(*tiny)
        self.assertEqual(continued.returncode, 0, continued.stdout + continued.stderr)
        self.assertIn("tasks        12, of which 0 are done; 2 at once", continued.stdout)
        self.assertRegex(continued.stdout, r"12 of 12 .* so far \d+\.\d min, to go about 0\.0 min")
        self.check_equal_training()
        self.check_tables()
        self.check_that_nothing_is_made_again(tiny)
        other = reproduce(self.folder, f"--bin={BIN}", *TINY, "--steps=80")
        self.assertEqual(other.returncode, 2)
        self.assertIn("--steps=80 (there: 40)", other.stderr)

    def stop_in_the_first_training(self, tiny):
        process = subprocess.Popen(command(*tiny), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        deadline = time.monotonic() + 120
        while not self.events("ddpm-seed_3", '"event":"step"'):
            self.assertIsNone(process.poll(), "ended before it was stopped")
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)
        process.send_signal(signal.SIGUSR1)
        said, _ = process.communicate(timeout=120)
        self.assertEqual(process.returncode, 75, said)
        self.assertIn("the same command continues", said)
        self.assertTrue(self.events("ddpm-seed_3", '"event":"stop"'), said)

    def check_equal_training(self):
        for run in ("ddpm-seed_3", "ddpm-seed_5", "ot-seed_3", "ot-seed_5"):
            manifest = json.loads((self.folder / run / "checkpoints/step_000000040/manifest.json").read_text())
            self.assertEqual((manifest["images_seen"], manifest["global_batch"], manifest["seed"]), (640, 16, int(run[-1])))
            self.assertEqual(manifest["flags"]["objective"], "ddpm" if run.startswith("ddpm") else "fm")
            self.assertEqual(manifest["flags"]["path"], "vp" if run.startswith("ddpm") else "ot")
            self.assertEqual(manifest["flags"]["time_scale"], "1000")

    def check_tables(self):
        """Everything from the files that the programs wrote, read another way."""
        table = {row["method"]: row for row in csv.DictReader((self.folder / "table.csv").read_text().splitlines())}
        words = (self.folder / "table.md").read_text()
        runs = {(row["method"], row["seed"]): row for row in csv.DictReader((self.folder / "runs.csv").read_text().splitlines())}
        self.assertEqual((len(table), len(runs)), (2, 4))
        for method, name in (("ddpm", "DDPM"), ("ot", "FM w/ OT")):
            found = {"NLL (bits/dim)": [], "FID-digits": [], "NFE": []}
            for seed in ("3", "5"):
                folder, row = self.folder / f"{method}-seed_{seed}", runs[method, seed]
                losses = {int(step): float(loss) for step, loss in re.findall(
                    r'"step":(\d+),"weights":"ema_0.999","loss":([0-9.e+-]+)', "".join(self.events(folder.name, '"event":"validation"')))}
                self.assertEqual(sorted(losses), [20, 40])
                best = min(losses, key=losses.get)
                self.assertEqual((int(row["step"]), float(row["validation loss"]), row["weights"]), (best, losses[best], "ema_0.999"))
                images = list(csv.DictReader((folder / f"results/nll-step_{best:09d}-reproduce.csv").read_text().splitlines()))
                self.assertEqual(len(images), 6)
                likelihood = json.loads((folder / f"results/nll-step_{best:09d}-reproduce.json").read_text())["settings"]
                self.assertEqual([likelihood[key] for key in ("solver", "atol", "rtol", "repeats", "probes", "images")], ["dopri5", 0.2, 0.2, 1, 1, 6])
                bits = statistics.fmean(float(image["bits_per_dim"]) for image in images)
                self.assertAlmostEqual(float(row["NLL (bits/dim)"]), bits, 9)
                fid = json.loads((folder / f"results/fid-step_{best:09d}-reproduce.json").read_text())
                self.assertEqual((fid["samples"], len(fid["repeats"]), fid["settings"]["solver"]["atol"]), (40, 1, 0.1))
                self.assertEqual((float(row["FID-digits"]), float(row["NFE"])), (fid["repeats"][0]["fid"], fid["repeats"][0]["nfe"]))
                for key, value in zip(found, (bits, fid["fid"]["mean"], fid["repeats"][0]["nfe"])):
                    found[key].append(value)
            self.assertEqual(table[method]["seeds"], "2")
            cells = []
            for (key, values), digits in zip(found.items(), (3, 3, 1)):
                self.assertAlmostEqual(float(table[method][key]), statistics.mean(values), 9)
                self.assertAlmostEqual(float(table[method][f"{key} sd"]), abs(values[0] - values[1]) / 2**0.5, 9)
                cells.append(f"{statistics.mean(values):.{digits}f} ± {statistics.stdev(values):.{digits}f}")
            self.assertIn(f"| {name} | {' | '.join(cells)} | 2 |", words)
            self.assertIn(" & ".join([name, *cells, "2"]).replace("±", r"$\pm$"), (self.folder / "table.tex").read_text("utf-8"))

    def check_that_nothing_is_made_again(self, tiny):
        before = self.everything()
        again = reproduce(*tiny)
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertIn("12, of which 12 are done", again.stdout)
        self.assertEqual(self.everything(), before)
        page = (self.folder / "report/report.html").read_text("utf-8")
        self.assertIn("ot-seed_5", page)
        png = (self.folder / "samples.png").read_bytes()
        # three rows of twenty images, each four times enlarged and two pixels apart
        self.assertEqual((png[:8], struct.unpack_from(">II", png, 16)), (b"\x89PNG\r\n\x1a\n", (20 * 34, 3 * 34 - 2)))

    def events(self, run, words):
        file = self.folder / run / "events.jsonl"
        return [line for line in file.read_text().splitlines(True) if words in line] if file.exists() else []

    def everything(self):
        """When each file of the runs was last written, and what the tables say."""
        times = {file: file.stat().st_mtime_ns for file in self.folder.glob("*-seed_*/**/*") if file.is_file()}
        return times, [(self.folder / name).read_text("utf-8") for name in ("table.csv", "table.md", "table.tex", "runs.csv")]


class BadInputTest(DigitsTest):
    def assert_refused(self, *arguments, words):
        finished = reproduce(self.folder, *arguments)
        self.assertEqual(finished.returncode, 2, finished.stdout + finished.stderr)
        self.assertIn(words, finished.stderr)
        self.assertNotIn("Traceback", finished.stderr)
        self.assertFalse(self.folder.exists(), "nothing is written")

    def test_it_names_what_is_wrong(self):
        self.assert_refused("--methods=ot,no", words="'ot,no': expected different ones of ddpm, sm, scoreflow, vp, ot, ot_time_scale_1")
        self.assert_refused("--seeds=1,1", words="'1,1': expected different whole numbers")
        self.assert_refused("--steps=-5", words="'-5': expected a whole number of 1 or more")
        self.assert_refused("--steps=13", words="--steps=13: expected a multiple of --checkpoints=3")
        self.assert_refused("--tolerance=nan", words="'nan': expected a number between 0 and 1")
        self.assert_refused("--test_images=301", words="there are 300")
        self.assert_refused(f"--bin={ROOT}", words="no cfm_pack, cfm_train, cfm_eval_nll, cfm_eval_fid there")

    def test_a_program_that_fails_ends_it_with_its_words(self):
        fakes = self.folder.parent / "bin"
        fakes.mkdir()
        for name in ("cfm_pack", "cfm_train", "cfm_eval_nll", "cfm_eval_fid"):
            (fakes / name).write_text(f"#!/bin/sh\n[ {name} = cfm_pack ] || {{ echo no such luck; exit 2; }}\n")
            (fakes / name).chmod(0o755)
        finished = reproduce(self.folder, f"--bin={fakes}")
        self.assertEqual(finished.returncode, 2, finished.stderr)
        self.assertIn("ddpm-seed_0: training: ended with 2", finished.stderr)
        self.assertIn("no such luck", finished.stderr)


class Choice(DigitsTest):
    def run_with(self, losses, kept):
        """losses: (step, weights, loss)."""
        for step in kept:
            (self.folder / "checkpoints" / f"step_{step:09d}").mkdir(parents=True)
        lines = [{"event": "validation", "attempt": 1, "step": step, "weights": weights, "loss": loss, "loss_by_t": []} for step, weights, loss in losses]
        (self.folder / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return Run(METHODS[0], 0, 50, self.folder)

    def test_the_least_loss_of_the_longest_average_among_kept_checkpoints(self):
        run = self.run_with([(10, "ema_0.999", 0.1), (20, "ema_0.999", 0.5), (20, "ema_0.99", 0.01), (30, "ema_0.999", 0.4), (30, "raw", 0.9),
                             (40, "ema_0.999", 0.4), (40, "raw", 0.2), (50, "ema_0.999", "nan")], [20, 30, 40, 50])
        chosen = run.chosen()
        self.assertEqual((chosen.step, chosen.weights, chosen.loss), (30, "ema_0.999", 0.4))

    def test_a_run_without_a_finite_loss_is_refused(self):
        with self.assertRaisesRegex(BadInput, "no kept checkpoint has a finite validation loss"):
            self.run_with([(50, "raw", "nan")], [50]).chosen()


class Means(unittest.TestCase):
    def test_the_deviation_is_the_sample_s(self):
        mean, deviation = mean_and_deviation([1.0, 2.0, 4.0])  # by hand: 7/3; squares 16/9, 1/9, 25/9 over 2
        self.assertAlmostEqual(mean, 7 / 3, 12)
        self.assertAlmostEqual(deviation, (7 / 3) ** 0.5, 12)
        self.assertEqual(in_words([1.0, 2.0, 4.0], 2), "2.33 ± 1.53")

    def test_one_value_has_none(self):
        self.assertEqual(mean_and_deviation([2.5]), (2.5, None))
        self.assertEqual(in_words([2.5], 1), "2.5")


if __name__ == "__main__":
    unittest.main()
