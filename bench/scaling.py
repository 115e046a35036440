"""Images/s on 2 ranks against 2 independent single-rank processes, torchcfm's network, beside PyTorch DDP over Gloo; ms of all-reduce."""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile

from pairs import IN_FLIGHT, MPIRUN, Paused, pack, result

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--pairs", type=int, default=15)
parser.add_argument("--steps", type=int, default=1, help="steps a measurement")
parser.add_argument("--batches", default="32,8", help="images a rank")
parser.add_argument("--ddp", type=int, default=1, help="0: leave out PyTorch's DDP")
arguments = parser.parse_args()
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
GRADIENT_BYTES = 4 * 35_746_307  # float32, torchcfm's network


def train(folder, name, data, batch, ranks):
    command = ["cfm_train", "--flagfile=configs/cifar10_torchcfm.flags", f"--run_dir={folder}/{name}", f"--train_data={data}",
               f"--global_batch={batch * ranks}", "--threads=1", "--log_every=1", "--checkpoint_every=0", "--sample_every=0"]
    return Paused((MPIRUN + ["-n", str(ranks)] if ranks > 1 else []) + command, f"{folder}/{name}/events.jsonl", ONE_THREAD)


def ddp(folder, name, data, batch):
    return Paused([sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=29512", "bench/peer_train.py",
                   f"--data={data}", f"--events={folder}/{name}", f"--batch={batch}", "--threads=1", "--ddp"],
                  f"{folder}/{name}", ONE_THREAD)


def rate(programs, images):
    """Lets all programs run at once; images/s of them together."""
    before = [len(program.steps()) for program in programs]
    for program in programs:
        program.signal(signal.SIGCONT)
    for program, done in zip(programs, before):
        program.wait_for(done + IN_FLIGHT + arguments.steps)
    for program in programs:
        program.pause()
    return sum(
        images / statistics.mean(line["step_seconds"] for line in program.steps()[done + IN_FLIGHT :][: arguments.steps])
        for program, done in zip(programs, before)
    )


def check_work(sides):
    """All did the work: every step in turn, and losses of the same size in the first ones."""
    runs = [[line for line in program.steps()] for programs, _ in sides.values() for program in programs]
    for steps in runs:
        numbers = [line["step"] for line in steps]
        assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) > arguments.pairs * arguments.steps, numbers
        for ours, other in zip(runs[0][:3], steps[:3], strict=True):
            assert abs(other["loss"] / ours["loss"] - 1) < 0.15, f"the losses differ: {ours['loss']} and {other['loss']}"


def all_reduce():
    """Milliseconds of the all-reduce of the gradients' bytes and of a memcpy of them, in turn; the program checks what both gave."""
    command = MPIRUN + ["-n", "2", "bench_all_reduce", str(GRADIENT_BYTES), str(arguments.pairs)]
    lines = subprocess.run(command, env={**os.environ, **ONE_THREAD}, check=True, capture_output=True, text=True).stdout.splitlines()
    pairs = [json.loads(line) for line in lines]
    assert len(pairs) == arguments.pairs, lines
    result("all_reduce", *([1000 * pair[side] for pair in pairs] for side in ("all_reduce_seconds", "memcpy_seconds")), "ms",
           more_is_better=False)


all_reduce()
with tempfile.TemporaryDirectory() as folder:
    data = pack(folder, 256, 32)
    for batch in map(int, arguments.batches.split(",")):
        sides = {"two_ranks": ([train(folder, f"w2b{batch}", data, batch, 2)], 2 * batch),
                 "independent": ([train(folder, f"a{batch}", data, batch, 1), train(folder, f"b{batch}", data, batch, 1)], batch)}
        if arguments.ddp:
            sides["ddp"] = ([ddp(folder, f"ddp{batch}", data, batch)], 2 * batch)
        for programs, _ in sides.values():
            for program in programs:
                program.wait_for(2)
            for program in programs:
                program.pause()
        rates = {name: [] for name in sides}
        for _ in range(arguments.pairs):
            for name, (programs, images) in sides.items():
                rates[name].append(rate(programs, images))
        check_work(sides)
        exposed = [line["exposed_reduce_seconds"] for line in sides["two_ranks"][0][0].steps()[1:]]
        print(f"batch {batch} a rank: all-reduce that backward did not hide: {1000 * statistics.median(exposed):.1f} ms a step")
        for programs, _ in sides.values():
            for program in programs:
                program.end()
        suffix = "" if batch == 32 else f"_batch{batch}"
        result(f"scaling_2_ranks{suffix}", rates["two_ranks"], rates["independent"], "images/s")
        if arguments.ddp:
            result(f"scaling_2_ranks_ddp{suffix}", rates["two_ranks"], rates["ddp"], "images/s")
