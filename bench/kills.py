"""SIGKILL of a rank at every place of a save and at random times: each start must continue from a committed checkpoint, each run end in the same bits."""

import argparse
import collections
import hashlib
import itertools
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from pairs import MPIRUN, descendants

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--random_kills", type=int, default=150, help="at random times, over all --ranks; the places of a save come on top")
parser.add_argument("--ranks", default="2,3")
parser.add_argument("--tally", default="build/kills.jsonl", help="what is done, a run a line; the same command goes on from there")
parser.add_argument("--seconds", type=float, default=540, help="after which no further run is begun")
arguments = parser.parse_args()
RANKS = [int(ranks) for ranks in arguments.ranks.split(",")]
STEPS, AT_STEP = 6, 4  # of a run, which saves every other step and keeps one; the save in which it is killed
LAST = f"step_{STEPS:09}"
# Operations of base/failpoint.h, the files they are counted in, and how many of those come before the save of AT_STEP.
PLACES = [("create", f"/step_{AT_STEP:09}", 0), ("write", f"/step_{AT_STEP:09}", 0), ("fsync", f"/step_{AT_STEP:09}", 0), ("rename", f"/step_{AT_STEP:09}", 0),
          ("fsync_directory", "/checkpoints", 2), ("rename", ".deleted.tmp", 0), ("remove", ".deleted.tmp", 0)]
FLAGS = ["--model_channels=32", "--num_res_blocks=1", "--channel_mult=1,2", "--attention_resolutions=4", "--num_head_channels=32", "--num_classes=10",
         "--dropout=0.1", "--global_batch=24", "--warmup_steps=1", "--lr=1e-2", "--horizontal_flip=false", "--ema_decays=0.999,0.9", f"--steps={STEPS}",
         "--checkpoint_every=2", "--keep_last=1", "--log_every=1", "--threads=1", "--step_timeout=60", "--metrics="]


def command(ranks, data, run):
    return MPIRUN + ["-n", str(ranks)], ["cfm_train", f"--train_data={data}", f"--run_dir={run}", *FLAGS]


def committed(run):
    """Steps of the checkpoints that are there whole by their names."""
    return sorted(int(folder.name[5:]) for folder in (run / "checkpoints").glob("step_*") if folder.name[5:].isdigit())


def hashes(run):
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted((run / "checkpoints" / LAST).glob("*.safetensors"))}


def problem_of_start(log, newest):
    """Where the start began, against the newest checkpoint that was there."""
    wanted = f"resumed at step {newest}" if newest else "from the start"
    lines = [line for line in log.splitlines() if line.startswith("run ")]
    if lines and wanted not in lines[0]:
        return f"expected '{wanted}', found '{lines[0]}'"
    return "a checkpoint was damaged" if "damaged" in log else ""


def stacks(pid):
    """Where a process and those below it stand, if gdb is there."""
    if not shutil.which("gdb"):
        return "install gdb to see where they stand"
    return "\n".join(subprocess.run(["gdb", "-p", str(one), "-batch", "-ex", "thread apply all backtrace 12"], capture_output=True, text=True).stdout[-8000:]
                     for one in (pid, *descendants(pid)))


class Sequence:
    """One run, started until it is complete."""

    def __init__(self, folder, data, ranks):
        self.run, self.log, self.data, self.ranks = folder / "run", folder / "log", data, ranks
        shutil.rmtree(self.run, ignore_errors=True)
        self.counts, self.problems = collections.Counter(), []

    def start(self, place="", rank=0, kill_after=None, chooses=None):
        """To its end; whether it was killed."""
        newest = (committed(self.run) or [0])[-1]
        mpirun, program = command(self.ranks, self.data, self.run)
        armed = ["sh", "-c", f'[ "$OMPI_COMM_WORLD_RANK" != {rank} ] || export CFM_FAIL_AT="{place}"; exec "$0" "$@"'] if place else []
        with open(self.log, "w") as log:
            process = subprocess.Popen(mpirun + armed + program, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        killed = False
        if kill_after is not None:
            time.sleep(kill_after)
            ranks = sorted(p for p in descendants(process.pid) if pathlib.Path(f"/proc/{p}/comm").exists() and pathlib.Path(f"/proc/{p}/comm").read_text() == "cfm_train\n")
            if ranks and process.poll() is None:
                os.kill(chooses.choice(ranks), signal.SIGKILL)
                killed = True
        try:
            code = process.wait(timeout=120)
        except subprocess.TimeoutExpired:
            self.problems.append(f"rank {rank}: the others did not end within 120 s: {stacks(process.pid)}\n{self.log.read_text()[-2000:]}")
            process.kill()
            code = -1
        log = self.log.read_text()
        killed = code != 0 and (killed or bool(place))
        began = "\nrun " in "\n" + log  # it came as far as that
        self.counts.update(starts=1, kills=killed, resumed=began and newest > 0, from_nothing=began and newest == 0)
        for problem in [problem_of_start(log, newest), f"ended with {code}: {log[-2000:]}" if code and not killed else ""]:
            if problem:
                self.problems.append(f"{place or 'clock'} on rank {rank}: {problem}")
        return killed

    def outcome(self, reference, **what):
        equal = hashes(self.run) == reference
        if not equal:
            self.problems.append("the end differs")
        return {"ranks": self.ranks, **what, **self.counts, "equal": int(equal), "problems": self.problems}


def killed_at(sequence, place, rank, reference):
    """Killed there, then continued. Nothing if this rank does not come to that place."""
    if not sequence.start(place, rank):
        return {"ranks": sequence.ranks, "place": place, "rank": rank, "met": False, "problems": sequence.problems}
    if not sequence.problems:
        sequence.start()
    return sequence.outcome(reference, place=place, rank=rank, met=True)


def killed_at_random(sequence, number, seconds, reference):
    """Killed at a random time on a random rank, until it comes through."""
    chooses = random.Random(f"{arguments.seed} {sequence.ranks} {number}")
    for _ in range(50):
        kill_after = chooses.uniform(0, 1.1 * seconds)
        if not sequence.start(kill_after=kill_after, chooses=chooses) and STEPS in committed(sequence.run):
            break
        if sequence.problems:
            break
    return sequence.outcome(reference, clock=number)


def work(folder, done):
    """Outcomes of what is not done yet."""
    subprocess.run(["cfm_pack", "--source=configs/digits/digits.npz", f"--out={folder}", "--split=train", "--first=0", "--count=64", "--shards=2",
                    "--grey_levels=17"], check=True, capture_output=True)
    data = folder / "train"
    reference, seconds = {}, {}
    for ranks in RANKS:
        whole = Sequence(folder, data, ranks)
        began = time.monotonic()
        whole.start()
        seconds[ranks], reference[ranks] = time.monotonic() - began, hashes(whole.run)
        assert len(reference[ranks]) == 5 and not whole.problems, whole.problems
    for ranks, rank in ((ranks, rank) for ranks in RANKS for rank in range(ranks)):
        for operation, part, before in PLACES:
            for number in itertools.count(before + 1):
                if operation == "fsync_directory" and number > before + 2:
                    break  # of a later save
                place = f"{operation}:{part}:{number}:kill"
                known = next((line for line in done if line.get("place") == place and line["ranks"] == ranks and line["rank"] == rank), None)
                if known is None:
                    known = killed_at(Sequence(folder, data, ranks), place, rank, reference[ranks])
                    yield known
                if not known["met"]:
                    break
    for number in itertools.count():
        ranks = RANKS[number % len(RANKS)]
        if sum(line.get("kills", 0) for line in done if "clock" in line) >= arguments.random_kills:
            return
        if not any(line.get("clock") == number for line in done):
            yield killed_at_random(Sequence(folder, data, ranks), number, seconds[ranks], reference[ranks])


def report(done):
    done = [line for line in done if line.get("met", True)]
    print(f"{'ranks':>5}  {'killed':<16}{'runs':>6}{'kills':>7}{'starts':>8}{'resumed':>9}{'equal ends':>12}{'problems':>10}")
    for ranks in RANKS:
        for kind, name in (("place", "at a place"), ("clock", "at any time")):
            lines = [line for line in done if line["ranks"] == ranks and kind in line]
            total = lambda key: sum(line.get(key, 0) for line in lines)  # noqa: E731
            print(f"{ranks:>5}  {name:<16}{len(lines):>6}{total('kills'):>7}{total('starts'):>8}{total('resumed'):>9}{total('equal'):>12}"
                  f"{sum(len(line['problems']) for line in lines):>10}")
    totals = {key: sum(line.get(key, 0) for line in done) for key in ("kills", "starts", "resumed", "equal")}
    problems = [problem for line in done for problem in line["problems"]]
    for problem in problems:
        print(f"problem: {problem}")
    print(f"RESULT name=kills kills={totals['kills']} starts={totals['starts']} resumed={totals['resumed']} runs={len(done)} equal_ends={totals['equal']} "
          f"problems={len(problems)}")
    return not problems and totals["equal"] == len(done)


tally = pathlib.Path(arguments.tally)
tally.parent.mkdir(parents=True, exist_ok=True)
done = [json.loads(line) for line in tally.read_text().splitlines()] if tally.exists() else []
began = time.monotonic()
with tempfile.TemporaryDirectory() as folder, open(tally, "a") as out:
    for outcome in work(pathlib.Path(folder), done):
        done.append(outcome)
        print(json.dumps(outcome), file=out, flush=True)
        if time.monotonic() - began > arguments.seconds:
            print("kills: time is up; the same command goes on")
            break
sys.exit(0 if report(done) else 1)
