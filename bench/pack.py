"""CPU seconds a JPEG of ImageNet's size: cfm_pack --size=64 on one thread against a Pillow script that makes the same pixels."""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time

import h5py
import numpy as np
from PIL import Image, ImageDraw

from pairs import MPIRUN, result

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--pairs", type=int, default=15)
parser.add_argument("--images", type=int, default=2000, help="so many that neither program's start decides")
parser.add_argument("--size", type=int, default=64)
parser.add_argument("--cases", default="box,adm", help="ways to resize; the first is the one whose scaling is measured")
parser.add_argument("--scaling_pairs", type=int, default=15, help="0: leave out the scaling over ranks")
arguments = parser.parse_args()
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}

# What a user would otherwise write: one process, one array, one file. ADM's crop is guided-diffusion's center_crop_arr
# (image_datasets.py), whose BOX halvings and BICUBIC it repeats.
PEER = """
import sys, numpy as np, h5py
from PIL import Image

def box(image, size):
    return image.resize((size, size), Image.BOX)

def adm(image, size):
    while min(*image.size) >= 2 * size:
        image = image.resize(tuple(x // 2 for x in image.size), resample=Image.BOX)
    scale = size / min(*image.size)
    image = image.resize(tuple(round(x * scale) for x in image.size), resample=Image.BICUBIC)
    top, left = (image.size[1] - size) // 2, (image.size[0] - size) // 2
    return image.crop((left, top, left + size, top + size))

resize, size, out, files = {"box": box, "adm": adm}[sys.argv[1]], int(sys.argv[2]), sys.argv[3], open(sys.argv[4]).read().split("\\n")
pixels = np.empty((len(files), 3, size, size), np.uint8)
for i, file in enumerate(files):
    pixels[i] = np.asarray(resize(Image.open(file).convert("RGB"), size)).transpose(2, 0, 1)
with h5py.File(out, "w") as shard:
    shard["imgs"] = pixels
    shard["labels"] = np.zeros(len(files), np.int64)
"""


def photograph(generator, width, height):
    """Smooth shading, grain and shapes with edges: compresses to about what a photograph does."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    pixels = np.zeros((height, width, 3), np.float32)
    for _ in range(6):
        fx, fy = generator.normal(0, 0.02, 2)
        pixels += np.sin(fx * x + fy * y + generator.uniform(0, 6.3))[..., None] * generator.uniform(-30, 30, 3)
    # Grain of two sizes: single pixels, and patches of a few.
    coarse = generator.normal(0, 18, (height // 3 + 1, width // 3 + 1, 1)).repeat(3, 0).repeat(3, 1)[:height, :width]
    pixels += coarse + generator.normal(0, 8, (height, width, 3))
    image = Image.fromarray(np.clip(pixels + generator.uniform(70, 180, 3), 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        left, top = generator.integers(-50, width), generator.integers(-50, height)
        box = [left, top, left + generator.integers(10, 200), top + generator.integers(10, 200)]
        colour = tuple(generator.integers(0, 256, 3).tolist())
        (draw.ellipse if generator.random() < 0.5 else draw.rectangle)([int(v) for v in box], outline=colour, width=int(generator.integers(1, 9)))
    return image


def write_jpegs(folder):
    generator = np.random.default_rng(0)
    os.makedirs(folder)
    files = []
    for i in range(arguments.images):
        width, height = (500, 375) if i % 3 else (375, 500)
        files.append(f"{folder}/{i:05d}.jpg")
        photograph(generator, width, height).save(files[-1], quality=90)
    size = sum(map(os.path.getsize, files)) / len(files)
    print(f"{len(files)} JPEGs of 500x375, {size / 1000:.0f} kB on average (ImageNet's: 110 kB)", flush=True)
    return files


def cpu_seconds(command):
    """User and system seconds of a program and all that it waited for."""
    with open(os.devnull, "w") as nothing:
        process = subprocess.Popen(command, stdout=nothing, env=ONE_THREAD)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"bench: {command} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def ours_command(source, out, resize, shards=1):
    shutil.rmtree(out, ignore_errors=True)
    return ["cfm_pack", f"--source={source}", f"--out={out}", f"--size={arguments.size}", f"--resize={resize}", "--threads=1",
            f"--shards={shards}"]


def images_in(path):
    with h5py.File(path) as shard:
        return shard["imgs"][:]


def check_same_pixels(ours, peer):
    """Every image of ours is one of the peer's, within 1 a pixel, and each is met once: ours are shuffled."""
    assert ours.shape == peer.shape and ours.dtype == peer.dtype, f"{ours.shape} and {peer.shape}"
    ours, peer = ours.reshape(len(ours), -1).astype(np.int16), peer.reshape(len(peer), -1).astype(np.int16)
    met, largest = set(), 0
    place = {image.tobytes(): i for i, image in enumerate(peer)}
    for image in ours:
        if (same := place.get(image.tobytes())) is not None:
            met.add(same)
            continue
        differences = np.abs(peer - image).max(1)
        nearest = int(differences.argmin())
        assert differences[nearest] <= 1, f"an image differs from the nearest of the peer's by {differences[nearest]}"
        met.add(nearest)
        largest = max(largest, int(differences[nearest]))
    assert len(met) == len(peer), f"{len(met)} of {len(peer)} images were met"
    return largest


def measure(folder, files, resize):
    listing = f"{folder}/files"
    with open(listing, "w") as file:
        file.write("\n".join(files))
    script = f"{folder}/peer.py"
    with open(script, "w") as file:
        file.write(PEER)
    ours, peer = [], []
    for _ in range(arguments.pairs):
        ours.append(cpu_seconds(ours_command(os.path.dirname(files[0]), f"{folder}/ours", resize)) / len(files))
        peer.append(cpu_seconds([sys.executable, script, resize, str(arguments.size), f"{folder}/peer.h5", listing]) / len(files))
    largest = check_same_pixels(images_in(f"{folder}/ours/train/train-00000-of-00001.h5"), images_in(f"{folder}/peer.h5"))
    print(f"{resize}: {1000 * np.median(ours):.2f} ms of CPU a JPEG, Pillow {1000 * np.median(peer):.2f} ms; pixels differ by at most {largest}")
    result("pack_jpeg" if resize == "box" else f"pack_jpeg_{resize}", ours, peer, "s", more_is_better=False)


def rate(folder, source, resize, ranks):
    """Images/s of `ranks` ranks by the clock, their start and end included."""
    command = MPIRUN + ["-n", str(ranks)] + ours_command(source, f"{folder}/ours", resize, shards=8)
    start = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=ONE_THREAD)
    return arguments.images / (time.monotonic() - start)


def measure_scaling(folder, files, resize):
    source = os.path.dirname(files[0])
    two, one = [], []
    for _ in range(arguments.scaling_pairs):
        two.append(rate(folder, source, resize, 2))
        one.append(rate(folder, source, resize, 1))
    result("pack_scaling_2_ranks", two, one, "images/s")


with tempfile.TemporaryDirectory() as folder:
    files = write_jpegs(f"{folder}/jpegs")
    cases = arguments.cases.split(",")
    for case in cases:
        measure(folder, files, case)
    if arguments.scaling_pairs:
        measure_scaling(folder, files, cases[0])
