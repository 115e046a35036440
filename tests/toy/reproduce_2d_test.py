"""scripts/reproduce_2d, tiny: its tables against the runs' files read another way, against the entropy, and samples against likelihoods."""

import csv
import json
import math
import os
import struct
import subprocess
import sys
import tempfile
import unittest
import zipfile
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests" / "report")]

from report_support import Page  # noqa: E402
from reporting.png import read_png  # noqa: E402
from reproducing_2d import lettering, pictures  # noqa: E402
from reproducing_2d.board import share_off  # noqa: E402

METHODS = ["sm vp", "ddpm vp", "scoreflow vp", "fm vp", "fm ot"]
TINY = "--steps=150 --width=48 --layers=3 --global_batch=128 --count=1500 --nll_count=300 --tolerance=1e-4 --net_batch=100".split()
ENTROPY = math.log(8 / 0.45**2)
BIN = os.environ.get("CFM_BIN", str(ROOT / "build/cpu/bin"))


def reproduce(*arguments, bin=BIN):
    command = [sys.executable, "-B", str(ROOT / "scripts" / "reproduce_2d"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=250, env={**os.environ, "CFM_BIN": str(bin)})


def numbers(file, name, code):
    """Of an array in an .npz, by its bytes."""
    with zipfile.ZipFile(file) as archive:
        data = archive.read(name + ".npy")
    body = data[10 + struct.unpack_from("<H", data, 8)[0] :]
    return struct.unpack(f"<{len(body) // struct.calcsize(code)}{code}", body)


def mean_and_error(values):
    mean = sum(values) / len(values)
    return mean, math.sqrt(sum((value - mean) ** 2 for value in values) / len(values) / (len(values) - 1))


def pixels(png):
    """Rows of palette entries, (red, green, blue)."""
    width, height, kind = struct.unpack_from(">II", png, 16) + (png[25],)
    assert kind == 3, kind
    palette = png[png.index(b"PLTE") + 4 :]
    at = png.index(b"IDAT")
    data = zlib.decompress(png[at + 4 : at + 4 + struct.unpack_from(">I", png, at - 4)[0]])
    return [[tuple(palette[3 * i : 3 * i + 3]) for i in data[y * (width + 1) + 1 : (y + 1) * (width + 1)]] for y in range(height)]


class Reproduced(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = Path(folder.name)
        cls.finished = reproduce(cls.folder, "--seeds=2", *TINY)
        if cls.finished.returncode:
            raise AssertionError(cls.finished.stdout + cls.finished.stderr)

    def rows(self, name):
        with open(self.folder / "tables" / f"{name}.csv", newline="") as file:
            return list(csv.DictReader(file))

    def file(self, method, seed):
        return self.folder / "runs" / f"{method.replace(' ', '_')}-{seed}" / "points.npz"

    def test_the_tables_hold_what_the_points_say(self):
        rows = self.rows("likelihood")
        self.assertEqual([row["method"] for row in rows], [*METHODS, "checkerboard itself"])
        self.assertAlmostEqual(float(rows[-1]["NLL, nats"]), ENTROPY, 12)
        self.assertAlmostEqual(float(rows[-1]["NLL, bits"]), math.log2(8 / 0.45**2), 12)
        for row in rows[:-1]:
            means = [mean_and_error([-p for p in numbers(self.file(row["method"], seed), "log_p", "d")])[0] for seed in (0, 1)]
            self.assertAlmostEqual(float(row["NLL, nats"]), sum(means) / 2, 9)
            self.assertAlmostEqual(float(row["spread"]), abs(means[0] - means[1]) / 2, 9)
            self.assertAlmostEqual(float(row["above the entropy, nats"]), sum(means) / 2 - ENTROPY, 9)
        self.assertEqual(len(self.rows("seeds")), 10)
        self.assertEqual([row["method"] for row in self.rows("few_evaluations")], METHODS)

    def test_no_flow_is_better_than_the_entropy_and_training_helps(self):
        prior = math.log(2 * math.pi) + 4 * 4 / 12 / 0.45**2  # NLL of N(0, I) under the checkerboard: E |y|^2/2 of both coordinates
        for method in METHODS:
            for seed in (0, 1):
                nll, error = mean_and_error([-p for p in numbers(self.file(method, seed), "log_p", "d")])
                self.assertGreater(nll, ENTROPY - 4 * error, method)
                self.assertLess(nll, prior, method)

    def test_the_mass_on_the_squares_is_the_same_by_density_and_by_samples(self):
        for method in METHODS:
            log_p = numbers(self.file(method, 0), "log_p", "d")
            mass, error = mean_and_error([math.exp(value + ENTROPY) for value in log_p])
            x = numbers(self.file(method, 0), "x", "f")
            times = len(numbers(self.file(method, 0), "t", "d"))
            ends = [(x[2 * i], x[2 * i + 1]) for i in range(times - 1, len(x) // 2, times)]
            self.assertEqual(len(ends), 1500)
            share = 1 - share_off(ends)
            allowed = 4 * math.sqrt(error**2 + share * (1 - share) / len(ends)) + 0.01  # the last for the midpoint rule
            self.assertLess(abs(mass - share), allowed, method)

    def test_the_page_and_its_pictures(self):
        page = Page((self.folder / "report.html").read_text("utf-8"))
        self.assertEqual(len(page.images), 4)
        self.assertEqual(len([chart for chart in page.charts if "squares" in chart.get("aria-label", "")]), 2)
        for name in ("times", "few", "training", "trajectories"):
            png = read_png(self.folder / "figures" / f"{name}.png")
            self.assertGreater(len({colour for row in pixels(png) for colour in row}), 5, name)

    def test_what_is_there_is_not_run_again(self):
        again = reproduce(self.folder, "--seeds=2", *TINY)
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertEqual(again.stdout.count(" is there\n"), 10)


class Pieces(unittest.TestCase):
    def test_a_point_is_counted_where_it_is(self):
        panel = pictures.density_panel([(-5.4, 5.4)] * 3 + [(5.4, -5.4), (99, 0), (-5.6, 0)])
        dark = [(row, column) for row, levels in enumerate(panel) for column, level in enumerate(levels) if level]
        self.assertEqual(dark, [(0, 0), (43, 43)])

    def test_half_dark_is_the_boards_density(self):
        # a point in the middle of each of the squares' bins, 1/0.45 wide in bins of 1/4: n points on an area n/16
        points = [(-5.375 + i / 4, -5.375 + j / 4) for i in range(44) for j in range(44)]
        levels = {level for row in pictures.density_panel(points) for level in row}
        self.assertEqual(levels, {round(31 * (1 / 121) / (2 * 0.0253125))})

    def test_samples_off_the_squares(self):
        # the middles of the lowest row's squares: every second one is the checkerboard's
        middles = [((column + 0.5) / 0.45, -1.5 / 0.45) for column in (-3, -2, -1, 0, 1, 2)]
        self.assertEqual([share_off([point]) for point in middles], [1, 0, 1, 0, 1, 1])

    def test_words(self):
        rows = [bytearray(20) for _ in range(9)]
        lettering.write(rows, "l.", 1, 1, 1)
        self.assertEqual(["".join(" #"[value] for value in row).rstrip() for row in rows],
                         ["", " ##", "  #", "  #", "  #", "  #", "  #  ##", " ### ##", ""])

    def test_refusals(self):
        with tempfile.TemporaryDirectory() as folder:
            for arguments in (["--out=x"], ["--seed=3"], ["--seeds=0"], ["b"]):
                self.assertEqual(reproduce(folder, *arguments).returncode, 2, arguments)
            self.assertEqual(list(Path(folder).iterdir()), [])
            refused = reproduce(folder, "--steps=-1")
            self.assertEqual(refused.returncode, 2)
            self.assertIn("--steps=-1: must not be negative", refused.stderr)

    def fake(self, folder, text):
        """How it ends with this shell script for cfm_checkerboard."""
        (folder / "cfm_checkerboard").write_text("#!/bin/sh\n" + text)
        (folder / "cfm_checkerboard").chmod(0o755)
        return reproduce(folder / "out", "--seeds=1", bin=folder)

    def test_how_a_program_ends_is_how_it_ends(self):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for code, expected in ((2, 2), (1, 1), (134, 1)):
                finished = self.fake(folder, f"echo no such luck >&2; exit {code}\n")
                self.assertEqual(finished.returncode, expected, finished.stderr)
                self.assertIn(f"ended with {code}", finished.stderr)
                self.assertIn("no such luck", finished.stderr)
            nothing = self.fake(folder, "for word; do case $word in --out=*) mkdir -p ${word#*=} ;; esac; done\n")
            self.assertEqual(nothing.returncode, 2, nothing.stderr)
            self.assertIn("result.json", nothing.stderr)
            missing = reproduce(folder / "other", "--seeds=1", bin=folder / "none")
            self.assertEqual(missing.returncode, 2)
            self.assertIn("none/cfm_checkerboard: No such file", missing.stderr)
            for finished in (nothing, missing):
                self.assertNotIn("Traceback", finished.stderr)


if __name__ == "__main__":
    unittest.main()
