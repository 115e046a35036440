"""Samples that FID-digits was measured on, a row a method, from the same noises; real test images in the last row."""

from pathlib import Path

from reporting.npz import read_npz
from reporting.png import encode_png

COLUMNS, SIZE, ZOOM, GAP = 20, 8, 4, 2


def picture(runs, digits: Path) -> bytes:
    """runs: measured ones, from top to bottom. digits: configs/digits/digits.npz."""
    rows, labels = [], None
    for run in runs:
        kept = read_npz(run.samples_file)
        labels = list(kept["arr_1"].values[:COLUMNS])
        rows.append(_images(kept["arr_0"], range(min(COLUMNS, len(labels)))))
    real = read_npz(digits)
    rows.append([bytes(255 * level // 16 for level in image) for image in _images(real["images"], _of_labels(real["labels"].values, labels))])
    lines = [line for images in rows for line in [*_lines(images), *[bytes([128]) * len(images) * (SIZE * ZOOM + GAP)] * GAP]]
    return encode_png(lines[:-GAP], 1)


def _images(array, indices) -> list:
    pixels = SIZE * SIZE
    return [bytes(array.values[i * pixels : (i + 1) * pixels]) for i in indices]


def _of_labels(labels, wanted, first=1497) -> list:
    """The index of a test image of each wanted label, each but once."""
    found = []
    for label in wanted:
        found.append(next(i for i in range(first, len(labels)) if labels[i] == label and i not in found))
    return found


def _lines(images) -> list:
    """Rows of pixels, enlarged, a grey gap after each image."""
    wide = lambda row: b"".join(bytes([pixel]) * ZOOM for pixel in row) + bytes([128]) * GAP  # noqa: E731
    return [line for y in range(SIZE) for line in [b"".join(wide(image[y * SIZE : (y + 1) * SIZE]) for image in images)] * ZOOM]
