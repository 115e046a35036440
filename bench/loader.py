"""Images/s a core of the whole loader: against memcpy from RAM, H5Dread, and torch DataLoaders with h5py; in every layout that is read."""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

import h5py
import numpy as np

from pairs import result

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--pairs", type=int, default=15)
parser.add_argument("--seconds", type=float, default=0.5, help="of a window; those of h5py take twice as long")
parser.add_argument("--sizes", default="64,32")
parser.add_argument("--layouts", default="ours,biggan,studiogan,planar,userblock,split,gzip,shuffle")
parser.add_argument("--batch", type=int, default=256)
parser.add_argument("--peers", type=int, default=1, help="0: leave out the torch DataLoaders")
parser.add_argument("--folder", default=None, help="where the files are made, two at a time; 4 GB")
arguments = parser.parse_args()
IMAGES = {64: 131072, 32: 524288}
CORE = max(os.sched_getaffinity(0))


class Asked:
    """A program that measures when it is asked to and sleeps otherwise, pinned to cores."""

    def __init__(self, command, cores):
        self.process = subprocess.Popen(
            list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"}, preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
        self.cores = len(cores)
        self.shares = []

    def ask(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit(f"bench: {self.process.args} ended with {self.process.wait()}")
        return json.loads(answer)

    def rate(self, name, seconds=arguments.seconds):
        """Items a second of the clock and core: the process has no more cores than that, whatever threads it has."""
        answer = self.ask("rate", name, seconds)
        self.shares.append(answer.get("cpu_seconds", 0) / answer["seconds"])
        return answer["items"] / answer["seconds"] / self.cores

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def made_images(size, count):
    generator = np.random.default_rng(size)
    images = np.frombuffer(generator.bytes(count * 3 * size * size), np.uint8).reshape(count, 3, size, size)
    return images, generator.integers(0, 1000, count)


def write(folder, layout, images, labels):
    """The images in a layout that people have; its path."""
    path, count, row = f"{folder}/{layout}.h5", len(images), images.shape[1:]
    if layout == "ours":
        np.save(f"{folder}/images.npy", images)
        np.save(f"{folder}/labels.npy", labels)
        subprocess.run(["cfm_pack", f"--source={folder}/images.npy,{folder}/labels.npy", f"--out={folder}/ours",
                        "--split=train", "--shards=2"], check=True, stdout=subprocess.DEVNULL)
        os.remove(f"{folder}/images.npy")
        return f"{folder}/ours/train"
    with h5py.File(path, "w", userblock_size=4096 if layout == "userblock" else 0) as file:
        if layout == "biggan":  # BigGAN-PyTorch's make_hdf5.py
            file.create_dataset("imgs", data=images, chunks=(500, *row), maxshape=(None, *row))
        elif layout == "studiogan":
            chunk = (500, row[1], row[2], row[0])
            target = file.create_dataset("imgs", (count, *chunk[1:]), np.uint8, chunks=chunk, maxshape=(None, *chunk[1:]))
            for first in range(0, count, 500):
                target[first : first + 500] = images[first : first + 500].transpose(0, 2, 3, 1)
        elif layout == "planar":
            file["data"] = images.reshape(count, -1)
        elif layout == "userblock":
            file["imgs"] = images
        elif layout == "split":  # as h5py cuts chunks by itself: an image lies in several
            file.create_dataset("imgs", data=images, chunks=True)
        else:
            file.create_dataset("imgs", data=images, chunks=(128, *row), compression="gzip", compression_opts=1,
                                shuffle=layout == "shuffle")
        file["labels"] = labels
    return path


def expected_sum(images, labels, stride=1):
    """As loader_rates.cpp's, over the images whose index `stride` divides."""
    total = 0
    weights = 1 + np.arange(images[0].size, dtype=np.uint64) % 251
    for first in range(0, len(images), 64 * stride):
        pixels = images[first : first + 64 * stride : stride].reshape(-1, weights.size).astype(np.uint64)
        factors = 1 + labels[first : first + 64 * stride : stride].astype(np.uint64)
        total += int(((pixels * weights).sum(1) * factors).sum(dtype=np.uint64))
    return {"sum": total % 2**64, "images": len(range(0, len(images), stride))}


def check_delivery(program, names, expected, stride=1):
    for name in names:
        found = program.ask("check", name, stride)
        if found != expected:
            sys.exit(f"bench: {name} delivered {found}; expected {expected}")


def in_turn(sources):
    """`pairs` rounds over all (program, name, seconds); rates by key."""
    rates = {key: [] for key in sources}
    for program, name, _ in sources.values():
        program.ask("rate", name, 0.1)  # opened and warm
    for _ in range(arguments.pairs):
        for key, (program, name, seconds) in sources.items():
            rates[key].append(program.rate(name, seconds))
    return rates


def measure_layout(size, layout, path, images, labels):
    program = Asked(["bench_loader", path, arguments.batch], {CORE})
    one_pass = layout in ("split", "gzip", "shuffle")
    # Single images of chunks that hold parts of many cost H5Dread minutes.
    names = ["ram", "memcpy"] + ([] if one_pass else ["h5dread", "pread", "pread_single"])
    check_delivery(program, names, expected_sum(images, labels))
    opening = program.ask("rate", "ram", 0.1)["open_cpu_seconds"]
    print(f"{size} px, {layout}: mode ram filled with {images.nbytes / 1e6:.0f} MB in {opening:.2f} s of CPU time")
    rates = in_turn({name: (program, name, arguments.seconds) for name in names})
    tag = "" if layout == "ours" else f"_{layout}"
    result(f"loader_{size}{tag}_memcpy", rates["ram"], rates["memcpy"], "images/s")
    if not one_pass:
        result(f"loader_{size}{tag}_h5dread", rates["ram"], rates["h5dread"], "images/s")
        result(f"loader_{size}{tag}_pread_memcpy", rates["pread"], rates["memcpy"], "images/s")
        result(f"loader_pread_{size}{tag}", rates["pread_single"], rates["h5dread"], "images/s")
    if layout == "ours":
        measure_numbers(size, program)
    print(f"{size} px, {layout}: the program had {100 * statistics.median(program.shares):.0f} % of its core (median over the windows)")
    program.end()


def measure_numbers(size, program):
    rates = in_turn({name: (program, name, arguments.seconds) for name in ("draws", "auto", "normal", "randn")})
    nanoseconds = {name: [1e9 / rate for rate in rates[name]] for name in ("normal", "randn")}
    result(f"loader_{size}_normal", nanoseconds["normal"], nanoseconds["randn"], "ns", more_is_better=False)
    batches = {name: [rate / arguments.batch for rate in rates[name]] for name in ("draws", "auto")}
    result(f"loader_{size}_draws", batches["draws"], batches["auto"], "batches/s")


PEERS = {"biggan": "biggan", "careful": "careful", "careful_sorted": "careful", "memory": "memory"}


def measure_peers(size, path, images, labels):
    """BigGAN's file by the default mode on one core, and by DataLoaders with 2 workers on one core and on two; the better counts."""
    ours = Asked(["bench_loader", path, arguments.batch], {CORE})
    peers = {1: Asked([sys.executable, "bench/peer_loader.py", path, arguments.batch], {CORE})}
    if len(os.sched_getaffinity(0)) > 1:
        peers[2] = Asked([sys.executable, "bench/peer_loader.py", path, arguments.batch], set(sorted(os.sched_getaffinity(0))[-2:]))
    check_delivery(ours, ["auto"], expected_sum(images, labels))
    check_delivery(peers[1], PEERS, expected_sum(images, labels, 16), 16)
    sources = {"ours": (ours, "auto", arguments.seconds)}
    for name in PEERS:
        for cores, program in peers.items():
            sources[name, cores] = (program, name, 2 * arguments.seconds)
    rates = in_turn(sources)
    best = {}
    for (name, cores), found in [item for item in rates.items() if item[0] != "ours"]:
        print(f"{size} px, DataLoader '{name}', 2 workers on {cores} core(s): {statistics.median(found):.0f} images/s a core")
        kind = PEERS[name]
        if kind not in best or statistics.median(found) > statistics.median(best[kind]):
            best[kind] = found
    for kind, found in best.items():
        result(f"loader_{size}_h5py_{kind}" if kind != "memory" else f"loader_{size}_in_memory", rates["ours"], found, "images/s")
    better = max(("biggan", "careful"), key=lambda kind: statistics.median(best[kind]))
    result(f"loader_{size}_h5py", rates["ours"], best[better], "images/s")
    for program in (ours, *peers.values()):
        program.end()


for size in map(int, arguments.sizes.split(",")):
    images, labels = made_images(size, IMAGES[size])
    for layout in arguments.layouts.split(","):
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            path = write(folder, layout, images, labels)
            print(f"{size} px, {layout}: {len(images)} images; load {os.getloadavg()[0]:.1f}", flush=True)
            measure_layout(size, layout, path, images, labels)
            if layout == "biggan" and arguments.peers:
                measure_peers(size, path, images, labels)
