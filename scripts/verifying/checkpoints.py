"""Two checkpoints, bit for bit: docs/formats.md."""

import json
import struct
from pathlib import Path

PIECE = 8 << 20
MOST_HEADER = 100 << 20
COUNTS = ("step", "images_seen", "optimizer_steps")


class Damaged(Exception):
    """A checkpoint that cannot be read."""


def step_name(step):
    return f"step_{step:09d}"


def in_order(name):
    """Weights first, then averages, then moments."""
    return (name != "model.safetensors", not name.startswith("ema_"), name)


def same_bytes(first, second):
    with open(first, "rb") as a, open(second, "rb") as b:
        while True:
            x, y = a.read(PIECE), b.read(PIECE)
            if x != y:
                return False
            if not x:
                return True


def header(file):
    """The tensors of a safetensors file, and where their bytes begin."""
    try:
        with open(file, "rb") as source:
            size = struct.unpack("<Q", source.read(8))[0]
            if size > MOST_HEADER:
                raise Damaged(f"{file}: a header of {size} bytes")
            entries = json.loads(source.read(size))
    except (OSError, ValueError, struct.error) as problem:
        raise Damaged(f"{file}: {problem}") from problem
    return entries, 8 + size


def tensor_bytes(file, entry, start):
    first, last = entry["data_offsets"]
    with open(file, "rb") as source:
        source.seek(start + first)
        return source.read(last - first)


def difference_of_tensors(name, entry, a, b):
    """Where two tensors of one kind differ, with both values where they are float32."""
    if entry["dtype"] != "F32" or len(a) != len(b):
        return f"{name} differs"
    count = len(a) // 4
    x, y = struct.unpack(f"<{count}I", a), struct.unpack(f"<{count}I", b)
    differing = [i for i in range(count) if x[i] != y[i]]
    first = differing[0]
    values = (struct.unpack_from("<f", a, 4 * first)[0], struct.unpack_from("<f", b, 4 * first)[0])
    return (f"{name} {entry['shape']} differs in {len(differing)} of {count} numbers, first in number {first}: "
            f"{values[0]!r} and {values[1]!r}")


def difference_of_files(first, second):
    """The first tensor of two weights files that differs; their bytes are known to differ."""
    (one, start), (two, other_start) = header(first), header(second)
    names = sorted((entry["data_offsets"][0], name) for name, entry in one.items() if name != "__metadata__")
    for _, name in names:
        if name not in two:
            return f"{first.name}: {name} is in one alone"
        if any(one[name][key] != two[name][key] for key in ("dtype", "shape")):
            return f"{first.name}: {name} is {one[name]['dtype']} {one[name]['shape']} in one, {two[name]['dtype']} {two[name]['shape']} in the other"
        a, b = tensor_bytes(first, one[name], start), tensor_bytes(second, two[name], other_start)
        if a != b:
            return f"{first.name}: tensor {difference_of_tensors(name, one[name], a, b)}"
    further = sorted(set(two) - set(one))
    if further:
        return f"{first.name}: {further[0]} is in one alone"
    return f"{first.name}: all tensors are the same, the header is not"


def manifest(checkpoint):
    try:
        return json.loads((checkpoint / "manifest.json").read_text())
    except (OSError, ValueError) as problem:
        raise Damaged(f"{checkpoint / 'manifest.json'}: {problem}") from problem


def compare(first: Path, second: Path):
    """What differs between two checkpoints, as a sentence; None if nothing that training goes on with does."""
    one, two = manifest(first), manifest(second)
    for key in COUNTS:
        if one.get(key) != two.get(key):
            return f"{key} is {one.get(key)} in one, {two.get(key)} in the other"
    names, others = ({file.name for file in folder.glob("*.safetensors")} for folder in (first, second))
    if names != others:
        return f"{sorted(names ^ others)[0]} is in one alone"
    if "model.safetensors" not in names:
        raise Damaged(f"{first} holds no model.safetensors")
    for name in sorted(names, key=in_order):
        if not same_bytes(first / name, second / name):
            return difference_of_files(first / name, second / name)
    return None
