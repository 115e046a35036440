"""Images/s of one training step, torchcfm's CIFAR-10 network: cfm_train against a plain PyTorch loop of the same wheel."""

import argparse
import statistics
import sys
import tempfile

from pairs import Paused, pack, result

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--pairs", type=int, default=15)
parser.add_argument("--steps", type=int, default=2, help="steps a measurement")
parser.add_argument("--batch", type=int, default=8)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--cases", default="fp32,bf16,fp32_channels_last,bf16_channels_last")
arguments = parser.parse_args()


def measure(case, folder, data):
    precision = case.split("_")[0]
    channels_last = case.endswith("channels_last")
    ours = Paused(
        ["cfm_train", "--flagfile=configs/cifar10_torchcfm.flags", f"--run_dir={folder}/{case}", f"--train_data={data}",
         f"--global_batch={arguments.batch}", f"--precision={precision}", f"--channels_last={str(channels_last).lower()}",
         f"--threads={arguments.threads}", "--log_every=1", "--checkpoint_every=0", "--sample_every=0"],
        f"{folder}/{case}/events.jsonl",
    )
    ours.wait_for(3)
    ours.pause()
    peer = Paused(
        [sys.executable, "bench/peer_train.py", f"--data={data}", f"--events={folder}/{case}.peer", f"--batch={arguments.batch}",
         f"--precision={precision}", f"--threads={arguments.threads}"] + ["--channels_last"] * channels_last,
        f"{folder}/{case}.peer",
    )
    peer.wait_for(3)
    peer.pause()
    rates = {"ours": [], "peer": []}
    for _ in range(arguments.pairs):
        for name, program in (("ours", ours), ("peer", peer)):
            seconds = [line["step_seconds"] for line in program.run(arguments.steps)]
            rates[name].append(arguments.batch / statistics.mean(seconds))
    # Both did the work: the same network, and losses of the same size after the same number of steps.
    start = [line for line in ours.steps()][:3], [line for line in peer.steps()][:3]
    for a, b in zip(*start):
        assert abs(a["loss"] / b["loss"] - 1) < 0.15, f"the losses differ: {a['loss']} and {b['loss']}"
    print(f"{case}: losses of the first steps: ours {[round(l['loss'], 4) for l in start[0]]}, peer {[round(l['loss'], 4) for l in start[1]]}")
    ours.end()
    peer.end()
    result(f"train_step_{case}", rates["ours"], rates["peer"], "images/s")


with tempfile.TemporaryDirectory() as folder:
    data = pack(folder, 256, 32)
    for case in arguments.cases.split(","):
        measure(case, folder, data)
