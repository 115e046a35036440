#!/usr/bin/env python3
"""Makes configs/digits/digits.npz from scikit-learn's copy of the UCI handwritten digits (test set).

    python3 -m venv v && v/bin/pip install scikit-learn==1.9.1 && v/bin/python scripts/make_digits.py

images: uint8 (1797,8,8), grey levels 0..16; labels: int64 (1797,); both in the order of UCI's optdigits.tes.
"""
import argparse
import io
import os
import zipfile

import numpy as np
from sklearn.datasets import load_digits

SPLITS = {"train": (0, 1297), "validation": (1297, 1497), "test": (1497, 1797)}
PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "configs", "digits", "digits.npz")


def write_npz(path, arrays):
    """As numpy.savez_compressed, without the clock: the same arrays make the same file."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in arrays.items():
            data = io.BytesIO()
            np.lib.format.write_array(data, array)
            entry = zipfile.ZipInfo(name + ".npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data.getvalue())


def main():
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    digits = load_digits()
    images = digits.images.astype(np.uint8)
    labels = digits.target.astype(np.int64)
    assert images.shape == (1797, 8, 8) and labels.shape == (1797,)
    assert (images == digits.images).all() and images.min() == 0 and images.max() == 16
    os.makedirs(os.path.dirname(PATH), exist_ok=True)
    write_npz(PATH, {"images": images, "labels": labels})
    for name, (first, end) in SPLITS.items():
        counts = np.bincount(labels[first:end], minlength=10)
        assert (counts > 0).all()
        print(f"{name:11s}{first:5d} .. {end - 1:4d}  images of each digit: {' '.join(map(str, counts))}")
    print(f"{os.path.normpath(PATH)}: {os.path.getsize(PATH)} bytes")


if __name__ == "__main__":
    main()
