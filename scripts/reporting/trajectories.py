"""Trajectories of samples (cfm_sample --trajectories=FILE.npz) and how straight they are (arXiv:2210.02747v2, Fig. 6)."""

import math
import re
from dataclasses import dataclass
from pathlib import Path

from .bad_input import BadInput
from .npz import read_npz

SHOWN_SAMPLES, SHOWN_TIMES, GAP = 8, 9, 1


@dataclass
class Path2d:
    """One sample's way, measured along and beside the chord from its noise to its image."""

    points: list  # (share of the chord that is covered, distance from the chord over the chord's length), one a time
    straightness: float  # tau * sum |dx|^2/dt over |chord|^2, less 1: 0 is straight at constant speed
    detour: float  # length over chord, less 1: 0 is straight at any speed


@dataclass
class Trajectories:
    step: int  # -1: the file's name does not say
    times: list
    shape: tuple  # C, H, W
    samples: list  # [sample][time]: flat values in model space
    paths: list

    def mean(self, name):
        return sum(getattr(path, name) for path in self.paths) / len(self.paths)


def measured(times, states) -> Path2d:
    """times: ascending; states: one flat sequence of numbers a time."""
    first, last = states[0], states[-1]
    chord = [b - a for a, b in zip(first, last)]
    square = math.fsum(c * c for c in chord)
    if square == 0:
        return Path2d([(0.0, 0.0)] * len(times), math.nan, math.nan)
    points = []
    for state in states:
        away = [x - a for x, a in zip(state, first)]
        along = math.fsum(a * c for a, c in zip(away, chord)) / square
        beside = math.fsum((a - along * c) ** 2 for a, c in zip(away, chord))
        points.append((along, math.sqrt(beside / square)))
    moves = [math.fsum((b - a) ** 2 for a, b in zip(one, two)) for one, two in zip(states, states[1:])]
    spans = [b - a for a, b in zip(times, times[1:])]
    energy = math.fsum(move / span for move, span in zip(moves, spans))
    length = math.fsum(math.sqrt(move) for move in moves)
    return Path2d(points, (times[-1] - times[0]) * energy / square - 1, length / math.sqrt(square) - 1)


def read_trajectories(file: Path) -> Trajectories:
    arrays = read_npz(file)
    if "x" not in arrays or "t" not in arrays:
        raise BadInput(f"{file}: has arrays {', '.join(sorted(arrays)) or 'none'}; expected x [N,T,C,H,W] and t [T]")
    x, t = arrays["x"], arrays["t"]
    times = list(t.values)
    if len(x.shape) != 5 or t.shape != (x.shape[1],) or len(times) < 2 or x.shape[0] < 1 or x.shape[2] not in (1, 3):
        raise BadInput(f"{file}: x has shape {x.shape}, t {t.shape}; expected x [N,T,C,H,W] with C of 1 or 3, t [T], T of 2 or more")
    if any(b <= a for a, b in zip(times, times[1:])):
        raise BadInput(f"{file}: t does not ascend")
    if not all(math.isfinite(value) for value in x.values):
        raise BadInput(f"{file}: x holds numbers that are not finite")
    size = math.prod(x.shape[2:])
    state = lambda n, i: x.values[(n * len(times) + i) * size : (n * len(times) + i + 1) * size]  # noqa: E731
    samples = [[state(n, i) for i in range(len(times))] for n in range(x.shape[0])]
    found = re.search(r"step_(\d+)", file.name)
    return Trajectories(int(found.group(1)) if found else -1, times, x.shape[2:], samples, [measured(times, s) for s in samples])


def film_rows(trajectories: Trajectories):
    """Rows of pixel bytes for encode_png: a sample a row, time from left to right, and the times that are shown."""
    channels, height, width = trajectories.shape
    last = len(trajectories.times) - 1
    count = min(SHOWN_TIMES, last + 1)
    shown = [round(i * last / (count - 1)) for i in range(count)]
    gap, rows = bytes([128] * GAP * channels), []
    for states in trajectories.samples[:SHOWN_SAMPLES]:
        for y in range(height):
            rows.append(gap.join(_row(states[i], y, channels, height, width) for i in shown))
        rows += [bytes([128]) * len(rows[0])] * GAP
    return rows[:-GAP], [trajectories.times[i] for i in shown]


def _row(values, y, channels, height, width):
    # flow/pixels.h: floor(128 (y + 1)) clamped to 0..255
    byte = lambda value: min(255, max(0, math.floor(128 * (value + 1))))  # noqa: E731
    return bytes(byte(values[(c * height + y) * width + x]) for x in range(width) for c in range(channels))
