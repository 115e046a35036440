"""What a checkpoint of a state over 1 GB costs: the wait against a memcpy of what is copied, and the whole against torch.save in the same loop."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime

from pairs import MPIRUN, lines_of, pack, result

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--pairs", type=int, default=15, help="of waits and memcpys")
parser.add_argument("--ranks", type=int, default=1, help="of the stall's case: each copies the files that it writes, and hashes the others")
parser.add_argument("--bytes", type=int, default=1 << 30)
parser.add_argument("--rounds", type=int, default=3, help="of training, each program in turn")
parser.add_argument("--saves", type=int, default=4, help="a round that count; one more warms up")
parser.add_argument("--every", type=int, default=10, help="steps between saves")
parser.add_argument("--batch", type=int, default=3)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--folder", default=None, help="where checkpoints are written: 4 GB")
parser.add_argument("--cases", default="stall,cost")
arguments = parser.parse_args()
CHANNELS = 192  # torchcfm's network, wider: 80 million parameters; with one average and two moments 1.29 GB
QUIET = 4  # steps before the next save, when the last one has been written


def stall(folder):
    launch = MPIRUN + ["-n", str(arguments.ranks)] if arguments.ranks > 1 else []
    command = launch + ["bench_checkpoint_stall", f"{folder}/stall", str(arguments.bytes), str(arguments.pairs)]
    lines = [json.loads(line) for line in subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()]
    assert len(lines) == arguments.pairs, lines
    print(f"stall: {arguments.bytes / 1e9:.2f} GB; commit after {statistics.median(l['save_seconds'] for l in lines):.2f} s")
    of_ranks = f"_{arguments.ranks}_ranks" if arguments.ranks > 1 else ""
    result("checkpoint_stall_memcpy" + of_ranks, [l["stall_seconds"] for l in lines], [l["memcpy_seconds"] for l in lines], "s", more_is_better=False)


def costs(steps, saved_after):
    """Seconds that each save cost. `steps`: (step, when it ended); a save begins at the end of a step that `saved_after` names,
    and its period ends with the step before the next. What the steps themselves take is told by the last of a period."""
    ended = dict(steps)
    found = []
    for save in saved_after:
        end = save + arguments.every
        quiet = statistics.median(ended[s] - ended[s - 1] for s in range(end - QUIET + 1, end + 1))
        found.append(ended[end] - ended[save] - arguments.every * quiet)
    return found


def run(command, log):
    with open(log, "w") as file:
        process = subprocess.run(command, stdout=file, stderr=file, env={**os.environ, "OMP_NUM_THREADS": str(arguments.threads)})
    if process.returncode != 0:
        sys.exit(f"bench: {command} ended with {process.returncode}: {open(log).read()}")


def train(folder, data, name):
    """Of cfm_train: a step's line is written at the end of the next one."""
    last = arguments.every * (arguments.saves + 2)
    run(["cfm_train", "--flagfile=configs/cifar10_torchcfm.flags", f"--run_dir={folder}/{name}", f"--train_data={data}",
         f"--model_channels={CHANNELS}", f"--global_batch={arguments.batch}", f"--threads={arguments.threads}", f"--steps={last}",
         "--log_every=1", f"--checkpoint_every={arguments.every}", "--keep_last=1", "--sample_every=0", "--warmup_steps=10"], f"{folder}/log")
    lines = lines_of(f"{folder}/{name}/events.jsonl")
    seconds = {line["step"]: datetime.fromisoformat(line["time"]).timestamp() for line in lines if line["event"] == "step"}
    saves = [line for line in lines if line["event"] == "checkpoint"]
    assert [line["step"] for line in saves] == list(range(arguments.every, last + 1, arguments.every)), saves
    step = statistics.median(seconds[s + 1] - seconds[s] for s in range(2, last - 1))
    assert all(line["seconds"] < (arguments.every - QUIET) * step for line in saves[:-1]), "--every is too short: no quiet steps"
    print(f"cost: ours: a step takes {step:.2f} s; training waited {[round(line['stall_seconds'], 3) for line in saves[:-1]]} s, "
          f"commits after {[round(line['seconds'], 2) for line in saves[:-1]]} s")
    ended = [(step + 1, at) for step, at in seconds.items()]
    return costs(ended, range(2 * arguments.every, last, arguments.every))


def peer(folder, data, name):
    last = arguments.every * (arguments.saves + 2)
    run([sys.executable, "bench/peer_train.py", f"--data={data}", f"--events={folder}/{name}", f"--batch={arguments.batch}",
         f"--threads={arguments.threads}", f"--model_channels={CHANNELS}", f"--steps={last}", f"--save={folder}/checkpoint.pth",
         f"--save_every={arguments.every}"], f"{folder}/log")
    lines = lines_of(f"{folder}/{name}")
    assert os.path.getsize(f"{folder}/checkpoint.pth") > 1e9
    os.remove(f"{folder}/checkpoint.pth")
    return costs([(line["step"], line["time"]) for line in lines], range(2 * arguments.every, last, arguments.every))


with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
    if "stall" in arguments.cases:
        stall(folder)
    if "cost" in arguments.cases:
        os.makedirs(f"{folder}/images")
        data = pack(f"{folder}/images", 256, 32)
        ours, others = [], []
        for number in range(arguments.rounds):
            ours += train(folder, data, f"run{number}")
            subprocess.run(["rm", "-r", f"{folder}/run{number}/checkpoints"], check=True)
            others += peer(folder, data, f"peer{number}")
            time.sleep(5)  # what the peer has not fsynced goes to the disk
            print(f"cost: ours {[round(c, 2) for c in ours]} s, torch.save {[round(c, 2) for c in others]} s", flush=True)
        result("checkpoint_cost_torch_save", [max(c, 0.01) for c in ours], others, "s", more_is_better=False)
