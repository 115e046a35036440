"""Every method for every seed by cfm_checkerboard, as many at once as there are cores, and what each run left."""

import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from reporting.bad_input import Failed
from reporting.npz import read_npz
from reporting.results import read_object

# As arXiv:2210.02747v2 compares them: what cfm_checkerboard is told beside --seed, and what all are told alike.
METHODS = {
    "sm vp": ["--path=vp", "--objective=sm"],
    "ddpm vp": ["--path=vp", "--objective=ddpm"],
    "scoreflow vp": ["--path=vp", "--objective=scoreflow", "--time_sampling=likelihood"],
    "fm vp": ["--path=vp", "--objective=fm"],
    "fm ot": ["--path=ot", "--objective=fm"],
}
LATER_SEEDS_COUNT = 2000  # samples of seeds that give no pictures


@dataclass
class Run:
    method: str
    seed: int
    result: dict
    arrays: dict  # name to npz.Array

    def points(self, name, place):
        """(x, y) of all samples of an array [N,T,2] at one of its T places."""
        array = self.arrays[name]
        count, places, _ = array.shape
        starts = range(2 * place, 2 * places * count, 2 * places)
        return [(array.values[i], array.values[i + 1]) for i in starts]


def run_all(program: Path, folder: Path, seeds: int, told: list) -> list:
    """In the order of METHODS, then of seeds. What a folder holds already, by the same command, is not run again."""
    wanted = [(method, seed) for seed in range(seeds) for method in METHODS]
    cores = len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(cores) as pool:
        try:
            for work in [pool.submit(_run, program, folder, method, seed, told) for method, seed in wanted]:
                print(work.result(), flush=True)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return [_read(folder, method, seed) for method in METHODS for seed in range(seeds)]


def folder_of(folder: Path, method: str, seed: int) -> Path:
    return folder / "runs" / f"{method.replace(' ', '_')}-{seed}"


def _run(program, folder, method, seed, told) -> str:
    out = folder_of(folder, method, seed)
    arguments = [*METHODS[method], f"--seed={seed}", *told]
    if seed > 0 and not any(word.startswith("--count=") for word in told):
        arguments.append(f"--count={LATER_SEEDS_COUNT}")
    command = out / "command.json"
    if _kept(command) == arguments:
        return f"{out} is there"
    command.unlink(missing_ok=True)
    done = subprocess.run([program, *arguments, f"--out={out}"], capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    if done.returncode:
        raise Failed(f"{program.name} {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}", 2 if done.returncode == 2 else 1)
    command.write_text(json.dumps(arguments))
    return done.stdout.rstrip()


def _kept(command: Path):
    """The arguments that a folder was made by; None: it is not there, or was not finished."""
    try:
        return json.loads(command.read_text())
    except (OSError, ValueError):
        return None


def _read(folder, method, seed) -> Run:
    out = folder_of(folder, method, seed)
    return Run(method, seed, read_object(out / "result.json"), read_npz(out / "points.npz"))
