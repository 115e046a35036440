"""The command line, and what of it decides the numbers: that stays with the folder, so that no two settings are mixed in one table."""

import argparse
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from reporting.arguments import folder
from reporting.bad_input import BadInput
from reporting.results import read_object

from .methods import METHODS

KEPT = "settings.json"
DESCRIPTION = """Trains every method on the handwritten digits with the same network, batches and steps, picks each run's checkpoint by its
validation loss, measures NLL, FID-digits and NFE, and writes means and deviations over seeds: FOLDER/table.csv, .md and .tex, the single runs in
FOLDER/runs.*, FOLDER/samples.png and FOLDER/report/report.html. The same command continues what was stopped or killed."""


@dataclass(frozen=True)
class Settings:
    """What decides the numbers, beside method and seed."""

    steps: int
    global_batch: int
    model_channels: int
    checkpoints: int  # of a run, evenly spaced, each with a validation loss; one of them is evaluated
    test_images: int
    fid_samples: int
    tolerance: float  # of dopri5 that draws samples, absolute and relative
    nll_tolerance: float  # of dopri5 in likelihoods


@dataclass(frozen=True)
class Options:
    folder: Path
    settings: Settings
    methods: list
    seeds: list
    jobs: int
    ranks: int
    bin: str | None  # None: build the programs


def options_of(arguments) -> Options:
    """Prints what is wrong and exits with 2 where arguments are."""
    parser = argparse.ArgumentParser(prog="reproduce_digits", description=DESCRIPTION)
    of = lambda text: f"{text} (default: %(default)s)"  # noqa: E731
    add = lambda name, default, text: parser.add_argument(name, default=default, help=of(text), type=_count, metavar="N")  # noqa: E731
    parser.add_argument("folder", nargs="?", metavar="FOLDER", type=folder, default=Path("runs/reproduce_digits"), help=of("for everything that is made"))
    parser.add_argument("--methods", metavar="LIST", type=_methods, default=",".join(method.key for method in METHODS), help=of("rows of the table"))
    parser.add_argument("--seeds", metavar="LIST", type=_seeds, default="0,1,2", help=of("of training; evaluation has the same seed everywhere"))
    add("--steps", 300, "optimizer steps of each run")
    add("--global_batch", 128, "images a step")
    add("--model_channels", 32, "width of the network, a multiple of 32")
    add("--checkpoints", 3, "of each run, to choose one of by validation loss; --steps is a multiple")
    add("--test_images", 300, "test images whose likelihood is measured: the first so many of 300")
    add("--fid_samples", 320, "samples of FID-digits; fewer than 320 are too few for its 32 features")
    parser.add_argument("--tolerance", metavar="X", type=_tolerance, default=1e-5, help=of("of dopri5 that draws samples, absolute and relative"))
    parser.add_argument("--nll_tolerance", metavar="X", type=_tolerance, default=1e-5, help=of("the same in likelihoods"))
    add("--ranks", 1, "MPI ranks of each program; several programs of one rank use a small machine better")
    parser.add_argument("--jobs", metavar="N", type=_count, help="programs at once (default: cores over ranks)")
    parser.add_argument("--bin", metavar="FOLDER", help="take the programs from there, or from PATH where it says PATH (default: build them)")
    found = parser.parse_args(arguments)
    if found.steps % found.checkpoints:
        parser.error(f"--steps={found.steps}: expected a multiple of --checkpoints={found.checkpoints}, as the last checkpoint needs a validation loss too")
    if found.model_channels % 32:
        parser.error(f"--model_channels={found.model_channels}: expected a multiple of 32, the channels of an attention head and of a norm's groups")
    if found.test_images > 300:
        parser.error(f"--test_images={found.test_images}: there are 300")
    settings = Settings(**{name: getattr(found, name) for name in Settings.__dataclass_fields__})
    jobs = found.jobs or max(1, len(os.sched_getaffinity(0)) // found.ranks)
    return Options(found.folder, settings, found.methods, found.seeds, jobs, found.ranks, found.bin)


def compare(folder: Path, settings: Settings):
    """BadInput if the folder's settings are others."""
    file = folder / KEPT
    kept = read_object(file) if file.exists() else asdict(settings)
    other = [f"--{name}={value} (there: {kept.get(name)})" for name, value in asdict(settings).items() if kept.get(name) != value]
    if other:
        raise BadInput(f"{file}: this folder's runs are of other settings: {', '.join(other)}. Name another folder, or give its settings.")


def keep(folder: Path, settings: Settings):
    """The folder's settings are these from now on."""
    folder.mkdir(parents=True, exist_ok=True)
    replace(folder / KEPT, json.dumps(asdict(settings), indent=1) + "\n")


def replace(file: Path, text: str):
    """Whole or not at all."""
    unfinished = file.with_name(file.name + ".new")
    unfinished.write_text(text, "utf-8")
    unfinished.replace(file)


def _count(text) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number of 1 or more")
    return int(text)


def _tolerance(text) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number between 0 and 1")
    return value


def _seeds(text) -> list:
    parts = text.split(",")
    if not all(part.isascii() and part.isdigit() for part in parts) or len({int(part) for part in parts}) < len(parts):
        raise argparse.ArgumentTypeError(f"{text!r}: expected different whole numbers, as 0,1,2")
    return [int(part) for part in parts]


def _methods(text) -> list:
    by_key = {method.key: method for method in METHODS}
    keys = text.split(",")
    unknown = [key for key in keys if key not in by_key]
    if unknown or len(set(keys)) < len(keys):
        raise argparse.ArgumentTypeError(f"{text!r}: expected different ones of {', '.join(by_key)}")
    return [method for key, method in by_key.items() if key in keys]
