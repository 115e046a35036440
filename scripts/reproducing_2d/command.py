"""The command line: builds cfm_checkerboard, runs every method, writes pictures, tables and the page."""

import argparse
import os
import subprocess
import time
from pathlib import Path

from reporting.arguments import folder
from reporting.bad_input import ENDS, end
from reporting.command import write

from .runs import METHODS, run_all
from .sections import figures_of, sections_of

ROOT = Path(__file__).resolve().parents[2]


def main(arguments) -> int:
    parser = argparse.ArgumentParser(prog="reproduce_2d", allow_abbrev=False, description="The 2-D checkerboard of arXiv:2210.02747v2 (figures 4 and 9) for every objective, trained "
                                     "alike: samples over t, over training and by few evaluations, trajectories, and exact likelihoods beside the entropy.",
                                     epilog="Further --name=value go to every run of cfm_checkerboard (build/cpu/bin/cfm_checkerboard --help): "
                                     "--steps=20000 --global_batch=4096 --width=512 come near the paper's.")
    parser.add_argument("folder", nargs="?", type=folder, default=ROOT / "runs/reproduce_2d", metavar="FOLDER", help="for runs/, figures/, tables/ and report.html (default: runs/reproduce_2d)")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each method (default: 3)")
    options, told = parser.parse_known_args(arguments)
    refused = [word for word in told if not word.startswith("--") or "=" not in word or word.split("=")[0] in ("--seed", "--out", "--path", "--objective", "--time_sampling")]
    if refused or options.seeds < 1:
        parser.error(f"cannot take {' '.join(refused)}" if refused else "--seeds: expected at least 1")
    try:
        program = built()
        started = time.monotonic()
        print(f"methods      {', '.join(METHODS)}\nruns         {len(METHODS) * options.seeds} of {program.name}, "
              f"{len(os.sched_getaffinity(0))} at a time", flush=True)
        runs = run_all(program, options.folder, options.seeds, told)
        figures = figures_of(runs)
        (options.folder / "figures").mkdir(parents=True, exist_ok=True)
        for name, png in figures.items():
            (options.folder / "figures" / f"{name}.png").write_bytes(png)
        tables = write(options.folder, ["2-D checkerboard"], sections_of(runs, figures), by="scripts/reproduce_2d")
    except ENDS as error:
        return end("reproduce_2d", error)
    print((options.folder / "tables" / "likelihood.md").read_text("utf-8"))
    print(f"took         {time.monotonic() - started:.0f} s\nwritten      {options.folder / 'report.html'}, {len(figures)} figures, {tables} tables")
    return 0


def built() -> Path:
    """cfm_checkerboard: of the folder that CFM_BIN names, or built here and now."""
    if "CFM_BIN" in os.environ:
        return Path(os.environ["CFM_BIN"]) / "cfm_checkerboard"
    for command in ([ROOT / "scripts/setup"], ["cmake", "--preset", "cpu"], ["cmake", "--build", "--preset", "cpu", "--target", "cfm_checkerboard"]):
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return ROOT / "build/cpu/bin/cfm_checkerboard"
