"""Seconds from exec to the end of the first step on 2 ranks, the digits' network: cfm_train under mpirun against torchrun with DDP over Gloo."""

import argparse
import os
import subprocess
import sys
import tempfile
import time

from pairs import MPIRUN, lines_of, pack, result

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--pairs", type=int, default=15)
arguments = parser.parse_args()


def first_step(command, events, env):
    """Seconds until the first step's line stands in `events`; then the program is ended."""
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **env})
    while not any(line["event"] == "step" for line in lines_of(events)):
        if process.poll() is not None and not any(line["event"] == "step" for line in lines_of(events)):
            sys.exit(f"bench: {command} ended with {process.returncode} before its first step")
        time.sleep(0.005)
    seconds = time.monotonic() - start
    process.terminate()
    process.wait()
    return seconds


with tempfile.TemporaryDirectory() as folder:
    subprocess.run(
        ["cfm_pack", "--source=configs/digits/digits.npz", f"--out={folder}/data", "--split=train", "--grey_levels=17"],
        check=True, stdout=subprocess.DEVNULL,
    )
    data = f"{folder}/data/train"
    ours, peer = [], []
    for pair in range(arguments.pairs):
        run = f"{folder}/run{pair}"
        ours.append(first_step(
            MPIRUN + ["-n", "2", "cfm_train", "--flagfile=configs/digits.flags", f"--run_dir={run}", f"--train_data={data}",
                      "--val_data=", "--val_every=0", "--log_every=1"],
            f"{run}/events.jsonl", {"OMP_NUM_THREADS": "1"}))
        peer.append(first_step(
            [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=29511", "bench/peer_train.py",
             f"--data={data}", f"--events={folder}/peer{pair}", "--batch=64", "--network=digits", "--precision=bf16",
             "--threads=1", "--ddp"],
            f"{folder}/peer{pair}", {"OMP_NUM_THREADS": "1"}))
    result("startup", ours, peer, "s", more_is_better=False)
