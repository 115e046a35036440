"""pytorch-fid on the same weights and images: peer_fid.py WEIGHTS IMAGES THREADS answers as bench_features does.

The network, its resize and its batch of 50 are pytorch-fid's own; images are in memory, where its program would read PNG files.
"""
import json
import sys
import time

import pytorch_fid.inception
import torch
from pytorch_fid.fid_score import calculate_frechet_distance
from safetensors.torch import load_file

torch.set_num_threads(int(sys.argv[3]))
weights, given = load_file(sys.argv[1]), load_file(sys.argv[2])
pytorch_fid.inception.load_state_dict_from_url = lambda *_, **__: weights
model = pytorch_fid.inception.InceptionV3([pytorch_fid.inception.InceptionV3.BLOCK_INDEX_BY_DIM[2048]]).eval()


def features():
    total = 0.0
    with torch.no_grad():
        for images in given["images"].split(50):
            total += model(images.float() / 255)[0].squeeze(3).squeeze(2).numpy().sum(dtype="float64")
    return float(total)


def distance():
    return float(calculate_frechet_distance(*(given[name].numpy() for name in ("mean_1", "covariance_1", "mean_2", "covariance_2"))))


def same_pixels():
    """Of images that are as large as the network's: p/256, which it doubles and takes 1 from, is the (p - 128)/128 of ours."""
    with torch.no_grad():
        return model(given["whole"].float() / 256)[0].flatten().tolist()


for line in sys.stdin:
    if line.strip() == "same_pixels":
        print(json.dumps({"values": same_pixels()}), flush=True)
        continue
    start = time.monotonic()
    value = {"features": features, "distance": distance}[line.strip()]()
    print(json.dumps({"seconds": time.monotonic() - start, "value": value}), flush=True)
