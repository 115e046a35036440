"""Images/s on 2 ranks against 2 independent single-rank processes, torchcfm's network, beside PyTorch DDP over Gloo."""

import argparse
import signal
import statistics
import sys
import tempfile

from pairs import MPIRUN, Paused, pack, result

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--pairs", type=int, default=5)
parser.add_argument("--steps", type=int, default=1, help="steps a measurement")
parser.add_argument("--batches", default="32,8", help="images a rank")
parser.add_argument("--ddp", type=int, default=1, help="0: leave out PyTorch's DDP")
arguments = parser.parse_args()
ONE_THREAD = {"OMP_NUM_THREADS": "1"}


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
        program.wait_for(done + 1 + arguments.steps)
    for program in programs:
        program.pause()
    return sum(
        images / statistics.mean(line["step_seconds"] for line in program.steps()[done + 1 : done + 1 + arguments.steps])
        for program, done in zip(programs, before)
    )


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
        exposed = [line["exposed_reduce_seconds"] for line in sides["two_ranks"][0][0].steps()[1:]]
        print(f"batch {batch} a rank: all-reduce that backward did not hide: {1000 * statistics.median(exposed):.1f} ms a step")
        for programs, _ in sides.values():
            for program in programs:
                program.end()
        suffix = "" if batch == 32 else f"_batch{batch}"
        result(f"scaling_2_ranks{suffix}", rates["two_ranks"], rates["independent"], "images/s")
        if arguments.ddp:
            result(f"scaling_2_ranks_ddp{suffix}", rates["two_ranks"], rates["ddp"], "images/s")
