"""MB of private memory that a data set of 4 GB adds to training on 2 ranks, by --data_mode; the limit is 1000 MB."""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time

import numpy as np

from pairs import MPIRUN, descendants, lines_of, pack, result

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--pairs", type=int, default=6)
parser.add_argument("--images", type=int, default=330_000, help="of 64x64: 12,288 bytes each")
parser.add_argument("--steps", type=int, default=40)
parser.add_argument("--modes", default="ram,pread")
parser.add_argument("--folder", default=None, help="where the files are made: 8 GB, 4 GB once they are packed")
arguments = parser.parse_args()
LIMIT = 1000.0
NETWORK = ["--model_channels=32", "--num_res_blocks=1", "--channel_mult=1,1,1,1", "--attention_resolutions=", "--num_heads=1"]


def large_set(folder):
    """Packed from a file that is written piece by piece, so that nothing here is large either."""
    pixels = np.lib.format.open_memmap(f"{folder}/images.npy", "w+", np.uint8, (arguments.images, 3, 64, 64))
    generator = np.random.default_rng(0)
    for first in range(0, arguments.images, 4096):
        piece = pixels[first : first + 4096]
        piece[:] = np.frombuffer(generator.bytes(piece.nbytes), np.uint8).reshape(piece.shape)
    del pixels
    np.save(f"{folder}/labels.npy", generator.integers(0, 1000, arguments.images))
    subprocess.run(["cfm_pack", f"--source={folder}/images.npy,{folder}/labels.npy", f"--out={folder}/large", "--split=train",
                    "--shards=4"], check=True, stdout=subprocess.DEVNULL)
    os.remove(f"{folder}/images.npy")
    return f"{folder}/large/train"


def memory_of(processes):
    """MB of anonymous and of shared memory of all of them; what several share counts once."""
    anonymous = shared = 0
    for process in processes:
        try:
            with open(f"/proc/{process}/smaps_rollup") as file:
                fields = dict(line.split(":") for line in file if line.startswith("Pss_"))
        except (FileNotFoundError, ProcessLookupError):
            continue
        anonymous += int(fields["Pss_Anon"].split()[0])
        shared += int(fields["Pss_Shmem"].split()[0])
    return anonymous * 1024 / 1e6, shared * 1024 / 1e6


def peak(folder, data, mode):
    """The largest private memory of a run, all of its processes together, and the largest shared one; in MB."""
    run = f"{folder}/run"
    shutil.rmtree(run, ignore_errors=True)
    with open(f"{folder}/log", "w") as log:
        process = subprocess.Popen(
            MPIRUN + ["-n", "2", "cfm_train", f"--run_dir={run}", f"--train_data={data}", f"--data_mode={mode}", *NETWORK,
                      "--global_batch=16", f"--steps={arguments.steps}", "--checkpoint_every=0", "--log_every=1"],
            stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"})
        private = shared = 0
        while process.poll() is None:
            now = memory_of([process.pid, *descendants(process.pid)])
            private, shared = max(private, now[0]), max(shared, now[1])
            time.sleep(0.05)
    with open(f"{folder}/log") as log:
        text = log.read()
    steps = [line["step"] for line in lines_of(f"{run}/events.jsonl") if line["event"] == "step"]
    if process.returncode != 0 or steps != list(range(1, arguments.steps + 1)) or f"{mode}: " not in text:
        sys.exit(f"bench: {process.args} ended with {process.returncode} after {len(steps)} steps:\n{text}")
    return private, shared


with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
    os.makedirs(f"{folder}/tiny")
    tiny, large = pack(f"{folder}/tiny", 256, 64), large_set(folder)
    for mode in arguments.modes.split(","):
        added = []
        for _ in range(arguments.pairs):
            with_large, alone = peak(folder, large, mode), peak(folder, tiny, mode)
            added.append(with_large[0] - alone[0])
            print(f"{mode}: private {with_large[0]:.0f} MB, with a tiny set {alone[0]:.0f} MB; shared {with_large[1]:.0f} MB", flush=True)
        # Below a megabyte it is noise, and could be negative.
        result(f"memory_private_{mode}", [max(mb, 1.0) for mb in added], [LIMIT] * len(added), "MB", more_is_better=False)
        if max(added) > LIMIT:
            sys.exit(f"bench: {max(added):.0f} MB of private memory for {arguments.images} images; the limit is {LIMIT:.0f}")
