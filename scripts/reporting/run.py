"""A run's folder, read."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from .bad_input import BadInput
from .events import Events, read_events
from .png import read_png
from .results import Results, read_object, read_results
from .trajectories import Trajectories, read_trajectories

PLACES = {"run_dir"}  # flags that say where, not what
SHOWN_GRIDS = 8


@dataclass
class Run:
    name: str
    folder: Path
    events: Events
    results: Results
    flags: dict  # of the newest checkpoint; empty: there is none yet
    model: dict
    revision: str
    checkpoint_step: int  # the newest; 0: there is none
    grids: list  # (step, PNG bytes): evenly chosen, the last one always
    grid_count: int
    trajectories: list


def read_runs(folders) -> list:
    names = _names(folders)
    return [read_run(folder, name) for folder, name in zip(folders, names)]


def _names(folders):
    """The folders' own names, with as much of the path as tells them apart."""
    parts = [Path(os.path.abspath(folder)).parts for folder in folders]
    if len(set(parts)) < len(parts):
        raise BadInput("a run is named twice: " + ", ".join(str(folder) for folder in folders))
    depth = 1
    while len({part[-depth:] for part in parts}) < len(parts):
        depth += 1
    return ["/".join(part[-depth:]) for part in parts]


def read_run(folder: Path, name: str) -> Run:
    if not folder.is_dir():
        raise BadInput(f"{folder}: there is no such run. Name the folder that cfm_train was given as --run_dir.")
    step, manifest = _newest_manifest(folder / "checkpoints")
    grids, count = _grids(folder / "samples")
    trajectories = [read_trajectories(file) for file in sorted(folder.glob("trajectories*.npz"))]
    return Run(name, folder, read_events(folder / "events.jsonl"), read_results(folder / "results"),
               _texts(manifest.get("flags")), _texts(manifest.get("model")), str(manifest.get("source_revision", "")), step, grids, count,
               sorted(trajectories, key=lambda one: one.step))


def _texts(facts):
    return {str(name): str(value) for name, value in facts.items()} if isinstance(facts, dict) else {}


def _newest_manifest(checkpoints: Path):
    """Its step and what it holds; 0 and nothing where there is no checkpoint."""
    steps = {int(found[1]): entry for entry in checkpoints.glob("step_*") if (found := re.fullmatch(r"step_(\d+)", entry.name))}
    newest = max(steps, default=0)
    return newest, read_object(steps[newest] / "manifest.json") if steps else {}


def _grids(samples: Path):
    found = {int(name[1]): file for file in samples.glob("step_*.png") if (name := re.fullmatch(r"step_(\d+)\.png", file.name))}
    steps = sorted(found)
    last = len(steps) - 1
    chosen = sorted({round(i * last / (SHOWN_GRIDS - 1)) for i in range(SHOWN_GRIDS)}) if last >= SHOWN_GRIDS else range(len(steps))
    return [(steps[i], read_png(found[steps[i]])) for i in chosen], len(steps)


def differing_flags(runs) -> list:
    """(flag, its value in each run; None: no such flag, or no checkpoint) for every flag that is not the same in all."""
    names = sorted({name for run in runs for name in run.flags} - PLACES)
    rows = [(name, [run.flags.get(name) for run in runs]) for name in names]
    known = [i for i, run in enumerate(runs) if run.flags]
    return [(name, values) for name, values in rows if len({values[i] for i in known}) > 1]
