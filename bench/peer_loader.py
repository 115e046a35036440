"""peer_loader.py FILE BATCH: images/s of torch DataLoaders with 2 workers on an HDF5 file, asked as bench_loader is (loader_rates.cpp).

Batches of bytes and labels, as ours: BigGAN's conversion to float32 is left out.
  biggan          BigGAN-PyTorch's ILSVRC_HDF5: the file is opened for each item
  careful         opened once a worker; a batch is read image by image into one array, and not collated
  careful_sorted  the same, in the file's order
  memory          BigGAN's --load_in_mem, a batch by one index operation
Whoever starts it pins it to its cores.
"""

import json
import sys
import time
import warnings

import h5py
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

path, batch_size = sys.argv[1], int(sys.argv[2])


def as_is(batch):
    return batch


class BigGan(Dataset):
    collate = None

    def __init__(self):
        with h5py.File(path, "r") as file:
            self.num_imgs = len(file["labels"])

    def __len__(self):
        return self.num_imgs

    def __getitem__(self, index):
        with h5py.File(path, "r") as file:
            image = file["imgs"][index]
            target = file["labels"][index]
        return torch.from_numpy(image), int(target)


class Careful(BigGan):
    collate = staticmethod(as_is)
    in_order = False
    file = None

    def __getitems__(self, indices):
        if self.file is None:
            self.file = h5py.File(path, "r")
            self.images, self.labels = self.file["imgs"], self.file["labels"][:]
        if self.in_order:
            indices = sorted(indices)
        images = np.empty((len(indices), *self.images.shape[1:]), np.uint8)
        for place, index in enumerate(indices):
            images[place] = self.images[index]  # faster than read_direct, a sorted list of indices or the low-level read
        return torch.from_numpy(images), torch.from_numpy(self.labels[indices])


class CarefulSorted(Careful):
    in_order = True


class Memory(BigGan):
    collate = staticmethod(as_is)

    def __init__(self):
        super().__init__()
        with h5py.File(path, "r") as file:
            self.images, self.labels = file["imgs"][:], file["labels"][:]

    def __getitems__(self, indices):
        return torch.from_numpy(self.images[indices]), torch.from_numpy(self.labels[indices])


DATASETS = {"biggan": BigGan, "careful": Careful, "careful_sorted": CarefulSorted, "memory": Memory}


def endless(loader):
    while True:
        yield from loader


def rate(batches, seconds):
    for _ in range(8):  # what was made while nobody measured
        next(batches)
    items, start = 0, time.monotonic()
    while time.monotonic() - start < seconds:
        items += len(next(batches)[0])
    return {"items": items, "seconds": time.monotonic() - start}


def check_sum(dataset, stride):
    """As loader_rates.cpp's: over the images whose index `stride` divides, in a random order."""
    ids = np.random.default_rng(0).permutation(np.arange(0, len(dataset), stride)).tolist()
    total, count = 0, 0
    for images, labels in DataLoader(dataset, batch_size, sampler=ids, num_workers=2, collate_fn=dataset.collate):
        pixels = images.numpy().reshape(len(images), -1).astype(np.uint64)
        weights = 1 + np.arange(pixels.shape[1], dtype=np.uint64) % 251
        total += int((pixels @ weights * (1 + labels.numpy().astype(np.uint64))).sum(dtype=np.uint64))
        count += len(images)
    return {"sum": total % 2**64, "images": count}


warnings.filterwarnings("ignore", "This DataLoader will create")  # 2 workers on one core: that is what is asked
torch.set_num_threads(1)
batches = {}
for line in sys.stdin:
    what, name, number = line.split()
    if what == "check":
        answer = check_sum(DATASETS[name](), int(number))
    else:
        if name not in batches:
            dataset = DATASETS[name]()
            batches[name] = endless(
                DataLoader(dataset, batch_size, shuffle=True, num_workers=2, collate_fn=dataset.collate, persistent_workers=True)
            )
        answer = rate(batches[name], float(number))
    print(json.dumps(answer), flush=True)
