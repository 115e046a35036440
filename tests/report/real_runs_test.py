"""Two short runs of the real programs, and the report's numbers beside those that are read from their files another way."""

import csv
import io
import json
import math
import os
import re
import statistics
import subprocess
import unittest
from base64 import b64encode
from pathlib import Path

from report_support import ROOT, Page, ReportTest

BIN = Path(os.environ.get("CFM_BIN", ROOT / "build/cpu/bin"))
TRAINING = ("--steps=8 --global_batch=16 --model_channels=32 --num_res_blocks=1 --warmup_steps=2 --precision=fp32 --log_every=1 "
            "--checkpoint_every=4 --keep_last=9 --val_every=4 --sample_every=4 --threads=1 --solver_steps=2")
LIKELIHOOD = "--solver=dp5 --steps=2 --count=12 --net_batch=4 --check_images=0 --threads=1"
SWEEP = "--sweep --sweep_nfe=2,4 --sweep_tolerances=1e-1 --count=8 --net_batch=8"


def run(program, *arguments):
    environment = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    finished = subprocess.run([BIN / program, *arguments], capture_output=True, text=True, timeout=200, env=environment)
    if finished.returncode:
        raise AssertionError(f"{program} ended with {finished.returncode}:\n{finished.stdout}{finished.stderr}")


class RealRuns(ReportTest):
    def test_the_page_and_its_tables_hold_what_the_programs_found(self):
        source = f"--source={ROOT / 'configs/digits/digits.npz'}"
        run("cfm_pack", source, f"--out={self.folder / 'd'}", "--split=train", "--count=64", "--grey_levels=17")
        run("cfm_pack", source, f"--out={self.folder / 'd'}", "--split=val", "--first=64", "--count=16", "--grey_levels=17")
        runs = [self.folder / name for name in ("ot", "vp")]
        for folder in runs:
            run("cfm_train", f"--flagfile={ROOT / 'configs/digits.flags'}", f"--run_dir={folder}", f"--path={folder.name}",
                f"--train_data={self.folder / 'd/train'}", f"--val_data={self.folder / 'd/val'}", *TRAINING.split())
            for step in (4, 8):
                run("cfm_eval_nll", f"--run_dir={folder}", f"--data={self.folder / 'd/val'}", f"--step={step}", *LIKELIHOOD.split())
        run("cfm_sample", f"--run_dir={runs[0]}", "--count=3", "--net_batch=4", "--steps=16", f"--out={self.folder / 's.npz'}",
            f"--trajectories={runs[0] / 'trajectories-step_000000008.npz'}")
        digits = [f"--reference={self.folder / 'd/train'}", f"--features=digits:{ROOT / 'configs/digits/features.safetensors'}", "--threads=1"]
        run("cfm_eval_fid", *digits, f"--samples={self.folder / 'd/val'}", f"--results_dir={runs[1] / 'results'}", "--tag=given")
        run("cfm_eval_fid", *digits, f"--run_dir={runs[0]}", *SWEEP.split())
        page = self.page_of(*runs)
        self.check_likelihoods(runs)
        self.check_given_images(runs)
        self.check_sweep(page, runs)
        self.check_losses(page, runs)
        self.check_images(page, runs)
        self.check_trajectories(page)
        self.assertEqual(list(csv.reader(io.StringIO(self.table("flags")))), [["flag", "ot", "vp"], ["path", "ot", "vp"]])
        self.assertIn("No FID of ot", page.text)
        self.assertIn("No trajectories of vp", page.text)
        self.assertIn("No FID of vp", page.text)
        self.assertIn("No sweep over solvers of vp", page.text)
        for name in ("overview", "flags", "held_out", "nll", "given", "nfe", "straightness"):
            self.check_same_cells(name)
        # the default place, and a second time over the first
        for _ in range(2):
            self.assertEqual(self.report(*runs).returncode, 0)
        Page((runs[0] / "report" / "report.html").read_text("utf-8"))

    def check_likelihoods(self, runs):
        rows = list(csv.DictReader(io.StringIO(self.table("nll"))))
        self.assertEqual([(row["run"], row["step"]) for row in rows], [(folder.name, step) for folder in runs for step in ("4", "8")])
        for row in rows:
            images = next((self.folder / row["run"] / "results").glob(f"nll-step_00000000{row['step']}-*.csv"))
            bits = [float(image["bits_per_dim"]) for image in csv.DictReader(io.StringIO(images.read_text()))]
            self.assertEqual(len(bits), 12)
            self.assertAlmostEqual(float(row["bits/dim"]), statistics.fmean(bits), 9)
            self.assertAlmostEqual(float(row["standard error"]), statistics.stdev(bits) / math.sqrt(12), 9)
            self.assertEqual(float(row["NFE (mean)"]), 12)

    def check_given_images(self, runs):
        """They are of no run and no step."""
        (row,) = csv.DictReader(io.StringIO(self.table("given")))
        self.assertRegex(row["images"], rf"^{re.escape(str(self.folder / 'd/val'))}: 16 images")
        self.assertEqual((row["results of"], row["samples"], row["tag"]), ("vp", "16", "given"))
        result = (runs[1] / "results" / "fid-step_000000000-given.json").read_text()
        self.assertEqual(float(row["FID"]), float(re.search(r'"fid": \{\s*"min": ([0-9.e+-]+)', result)[1]))
        self.assertEqual([row["FID"] for row in csv.DictReader(io.StringIO(self.table("overview")))], ["", ""])

    def check_sweep(self, page, runs):
        """In the table and, a dot each, in two charts."""
        (result,) = (runs[0] / "results").glob("fid_sweep-step_000000008-*.json")
        curve = json.loads(result.read_text())["curve"]
        self.assertEqual({point["solver"] for point in curve}, {"euler", "midpoint", "heun2", "rk4", "rk4_38", "dp5", "dopri5"})
        rows = list(csv.DictReader(io.StringIO(self.table("nfe"))))
        self.assertEqual([(row["run"], row["step"], row["solver"], row["rank-deficient"]) for row in rows], [("ot", "8", point["solver"], "yes") for point in curve])
        for column, key in (("NFE", "nfe"), ("FID", "fid"), ("rms error", "rms_error")):
            self.assertEqual([float(row[column]) for row in rows], [point[key] for point in curve])
        for measure in ("FID", "rms error of the solution"):
            (chart,) = [chart for chart in page.charts if chart.get("aria-label") == f"ot, step 8: {measure} against NFE"]
            self.assertEqual(len(list(chart.iter("{http://www.w3.org/2000/svg}circle"))), len(curve))

    def check_losses(self, page, runs):
        rows = list(csv.DictReader(io.StringIO(self.table("held_out"))))
        lines = [line for folder in runs for line in (folder / "events.jsonl").read_text().splitlines()]
        losses = sorted(re.search(r'"loss":([^,]+)', line)[1] for line in lines if '"validation"' in line)
        self.assertEqual(sorted(map(float, losses)), sorted(float(row["loss"]) for row in rows))
        self.assertEqual(len(rows[0]), 5 + 10)
        train = page.charts[0]
        self.assertEqual(train.get("aria-label"), "Training loss")
        titles = [title.text for title in train.iter("{http://www.w3.org/2000/svg}title")]
        logged = [float(re.search(r'"loss":([^,]+)', line)[1]) for line in lines if '"event":"step"' in line]
        self.assertEqual(len(titles), 16)
        for title, loss in zip(titles, logged):
            self.assertAlmostEqual(float(title.split()[-1]), loss, delta=1e-5 * loss)

    def check_images(self, page, runs):
        grids = [(folder / "samples" / f"step_00000000{step}.png").read_bytes() for folder in runs for step in (4, 8)]
        expected = ["data:image/png;base64," + b64encode(grid).decode() for grid in grids]
        self.assertEqual(page.images[:4], expected)

    def check_trajectories(self, page):
        self.assertEqual(len(page.images), 5)
        (row,) = csv.DictReader(io.StringIO(self.table("straightness")))
        self.assertEqual([row[name] for name in ("run", "step", "samples", "times")], ["ot", "8", "3", "17"])
        # By the inequality of the means neither is negative, and (1 + detour)^2 <= 1 + S for every sample.
        self.assertGreaterEqual(float(row["length/chord - 1"]), 0)
        self.assertLessEqual((1 + float(row["length/chord - 1"])) ** 2, 1 + float(row["S"]) + 1e-9)

    def check_same_cells(self, name):
        rows = list(csv.reader(io.StringIO(self.table(name))))
        markdown = self.table(name, "md").splitlines()
        latex = [line for line in self.table(name, "tex").splitlines() if line.endswith(r"\\")]
        self.assertEqual(len(markdown), len(rows) + 1)
        self.assertEqual(len(latex), len(rows))
        for line in latex:
            self.assertEqual(len(re.findall(r"(?<!\\)&", line)), len(rows[0]) - 1)
            self.assertNotRegex(line, r"(?<!\\)[_%#]")
        for line in markdown:
            self.assertEqual(len(re.findall(r"(?<!\\)\|", line)), len(rows[0]) + 1)


if __name__ == "__main__":
    unittest.main()
