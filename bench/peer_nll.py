"""The likelihood that a PyTorch user would otherwise compute: torchdiffeq's dopri5 over FFJORD's field, on one network and its images.

Answers on standard output, a line of JSON each, what it is asked on standard input: "solve TOLERANCE IMAGES": log p of images 0 to
IMAGES - 1, in batches; "calls": seconds of a network call of a batch, its forward pass alone and with its gradient. Images are dequantised and probed by the same numbers as ours, made here by a Philox of its own.
"""

import argparse
import glob
import json
import math
import statistics
import sys
import time

import h5py
import numpy as np
import torch
from peer_unet import unet
from safetensors import safe_open
from torchdiffeq import odeint

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--weights", required=True)
parser.add_argument("--data", required=True)
parser.add_argument("--batch", type=int, required=True)
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--precision", default="fp32", choices=["fp32", "fp64"])
arguments = parser.parse_args()
torch.set_num_threads(arguments.threads)
DTYPE = torch.float64 if arguments.precision == "fp64" else torch.float32
SEED, DEQUANTISE, PROBE = 0, 20, 21


def philox(purpose, number, words):
    """Words of the stream (seed, purpose, id): Philox4x32-10 at counter (block, purpose, id low, id high)."""
    blocks = (words + 3) // 4
    counter = [np.arange(blocks, dtype=np.uint64), purpose, number & 0xFFFFFFFF, number >> 32]
    c = [np.broadcast_to(np.uint64(v), (blocks,)).astype(np.uint64) if i else v for i, v in enumerate(counter)]
    k = [SEED & 0xFFFFFFFF, SEED >> 32]
    mask = np.uint64(0xFFFFFFFF)
    for _ in range(10):
        p0, p1 = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        c = [(p1 >> np.uint64(32)) ^ c[1] ^ np.uint64(k[0]), p1 & mask, (p0 >> np.uint64(32)) ^ c[3] ^ np.uint64(k[1]), p0 & mask]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return np.stack(c, 1).reshape(-1)[:words]


def network():
    with safe_open(arguments.weights, "pt") as file:
        metadata = file.metadata()
        weights = {name: file.get_tensor(name) for name in file.keys()}
    config = {}
    for key, value in metadata.items():
        if not key.startswith("model."):
            continue
        try:
            config[key[6:]] = json.loads(value)
        except json.JSONDecodeError:
            config[key[6:]] = [int(number) for number in value.split(",") if number]
    for name in ("channel_mult", "attention_resolutions"):
        if isinstance(config[name], int):
            config[name] = [config[name]]
    net = unet(config)
    net.load_state_dict(weights)
    return net.to(DTYPE).eval().requires_grad_(False), config


net, config = network()
images, labels = [], []
for path in sorted(glob.glob(f"{arguments.data}/*.h5")):
    with h5py.File(path) as file:
        images.append(file["imgs"][:])
        labels.append(file["labels"][:])
images, labels = np.concatenate(images), torch.from_numpy(np.concatenate(labels))
D = int(np.prod(images.shape[1:]))


def dequantised(image):
    u = (philox(DEQUANTISE, image << 16, D) >> np.uint64(8)).astype(np.float64) * 2.0**-24
    u = np.floor(u * 2**16) / 2**16
    return (images[image].reshape(-1) + u) / 128 - 1


def probe(image):
    bits = philox(PROBE, image << 16, (D + 31) // 32)
    return np.array([1.0 if int(bits[i // 32]) >> (i % 32) & 1 else -1.0 for i in range(D)])


def log_density(first, last, tolerance):
    shape = (last - first, *images.shape[1:])
    y = torch.from_numpy(np.stack([dequantised(i) for i in range(first, last)])).to(DTYPE).view(shape)
    z = torch.from_numpy(np.stack([probe(i) for i in range(first, last)])).to(DTYPE).view(shape)
    label = labels[first:last] if config["num_classes"] else None
    calls = 0

    def field(t, state):
        nonlocal calls
        calls += 1
        with torch.enable_grad():
            x = state[0].detach().requires_grad_(True)
            v = net(x, t.to(DTYPE).expand(len(x)), label)
            zdv = torch.autograd.grad(v, x, z)[0]
        return v.detach(), (zdv * z).flatten(1).sum(1)

    with torch.no_grad():
        times = torch.tensor([1.0, 0.0], dtype=torch.float64)
        x, integral = odeint(field, (y, torch.zeros(len(y), dtype=DTYPE)), times, rtol=tolerance, atol=tolerance, method="dopri5")
    x, integral = x[-1].double(), integral[-1].double()
    prior = -x.flatten(1).square().sum(1) / 2 - D / 2 * math.log(2 * math.pi)
    return (prior + integral).tolist(), calls


def seconds_of_calls():
    x = torch.randn(arguments.batch, *images.shape[1:], dtype=DTYPE, requires_grad=True)
    t, z = torch.full((arguments.batch,), 0.5, dtype=DTYPE), torch.ones_like(x)
    label = labels[: arguments.batch] if config["num_classes"] else None
    forward, with_gradient = [], []
    for _ in range(10):
        start = time.monotonic()
        v = net(x, t, label)
        forward.append(time.monotonic() - start)
        torch.autograd.grad(v, x, z)
        with_gradient.append(time.monotonic() - start)
    return {"forward": statistics.median(forward), "with_gradient": statistics.median(with_gradient)}


for line in sys.stdin:
    if line.strip() == "calls":
        print(json.dumps(seconds_of_calls()), flush=True)
        continue
    _, tolerance, count = line.split()
    start = time.monotonic()
    log_p, nfe = [], []
    for first in range(0, int(count), arguments.batch):
        values, calls = log_density(first, min(first + arguments.batch, int(count)), float(tolerance))
        log_p += values
        nfe += [calls] * len(values)
    seconds = time.monotonic() - start
    bits = [-value / (D * math.log(2)) + 7 for value in log_p]
    print(json.dumps({"seconds": seconds, "nfe": sum(nfe) / len(nfe), "bits": bits}), flush=True)
