#!/usr/bin/env python3
"""Trains the small classifier whose features FID-digits is taken between, and writes configs/digits/features.safetensors.

    ~/.cache/cfm/torch-2.15.0/bin/python scripts/train_digit_features.py     # about a minute on one core

The network is that of models/digit_features.h. It sees the 1,297 digits of the training split, each grey level 0..16 as a byte drawn
anew from its range (as cfm_pack --grey_levels=17 draws once), shifted by up to a pixel; the 200 of the validation split choose
nothing, they only say how good it is.
"""
import argparse
import os

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

HERE = os.path.dirname(os.path.abspath(__file__))
DIGITS = os.path.join(HERE, "..", "configs", "digits")
TRAINING, VALIDATION = slice(0, 1297), slice(1297, 1497)
FEATURES = 32


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, stride=2, padding=1)
        self.conv3 = nn.Conv2d(32, 32, 3, padding=1)
        self.features = nn.Linear(32 * 4 * 4, FEATURES)
        self.logits = nn.Linear(FEATURES, 10)

    def forward(self, images):
        x = (images.float() - 128) / 128
        for convolution in (self.conv1, self.conv2, self.conv3):
            x = functional.silu(convolution(x))
        features = self.features(x.flatten(1))
        return features, self.logits(functional.silu(features))


def bytes_of(levels, generator):
    """Grey level k to a byte of 256k/17 .. 256(k+1)/17 - 1, rounded down."""
    first, last = levels * 256 // 17, (levels + 1) * 256 // 17
    return first + (torch.rand(levels.shape, generator=generator) * (last - first)).long()


def shifted(images, generator):
    """Each image by -1, 0 or 1 pixel both ways."""
    padded = functional.pad(images, (1, 1, 1, 1))
    rows, columns = torch.randint(0, 3, (2, len(images)), generator=generator)
    return torch.stack([image[:, r : r + 8, c : c + 8] for image, r, c in zip(padded, rows, columns)])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default=os.path.join(DIGITS, "features.safetensors"))
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(arguments.seed + 1)
    with np.load(os.path.join(DIGITS, "digits.npz")) as file:
        levels, labels = torch.from_numpy(file["images"]).long()[:, None], torch.from_numpy(file["labels"])
    net = Classifier()
    steps = arguments.epochs * (1297 // 64)
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    for _ in range(arguments.epochs):
        order = torch.randperm(1297, generator=generator)
        for i in range(1297 // 64):
            chosen = order[64 * i : 64 * (i + 1)]
            images = bytes_of(shifted(levels[TRAINING][chosen], generator), generator)
            loss = functional.cross_entropy(net(images)[1], labels[TRAINING][chosen], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        features, logits = net(bytes_of(levels, generator))
    right = logits.argmax(1) == labels
    eigenvalues = torch.linalg.eigvalsh(torch.cov(features.double().T))
    print(f"right: {100 * right[TRAINING].double().mean():.2f} % of training, {100 * right[VALIDATION].double().mean():.2f} % of validation")
    print(f"eigenvalues of the features' covariance: {eigenvalues[0]:.3g} to {eigenvalues[-1]:.3g}")
    tensors = {name: tensor.contiguous() for name, tensor in net.state_dict().items()}
    save_file(tensors, arguments.out, {"format": "pt", "cfm_features": "digits", "dimensions": str(FEATURES)})
    print(f"{os.path.normpath(arguments.out)}: {os.path.getsize(arguments.out)} bytes")


if __name__ == "__main__":
    main()
