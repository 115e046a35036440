"""Pairs of measurements, in turn, and the ratio they give."""

import itertools
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import time

import numpy as np

MPIRUN = ["mpirun", "--oversubscribe", "--bind-to", "none"] + (["--allow-run-as-root"] if os.getuid() == 0 else [])


def interval(ratios):
    """Median, the interval for it by order statistics (distribution-free), and the probability with which that covers it.

    The k-th smallest and the k-th largest bracket the median with probability 1 - 2 P(Binomial(n, 1/2) < k); k is the largest for
    which that is at least 0.95. With fewer than 6 pairs there is none: then these are the smallest and the largest, and what they cover.
    """
    ordered = sorted(ratios)
    n = len(ordered)
    below = list(itertools.accumulate(math.comb(n, i) / 2**n for i in range(n)))  # below[k - 1] = P(Binomial < k)
    k = max([1] + [k for k in range(1, n // 2 + 1) if 2 * below[k - 1] <= 0.05])
    return statistics.median(ordered), ordered[k - 1], ordered[n - k], max(0.0, 1 - 2 * below[k - 1])


def result(name, ours, peer, unit, more_is_better=True):
    """Prints the RESULT line of paired measurements."""
    ratios = [a / b if more_is_better else b / a for a, b in zip(ours, peer, strict=True)]
    ratio, low, high, coverage = interval(ratios)
    if coverage < 0.95:
        print(f"{name}: {len(ratios)} pairs are too few for a 95 % interval (6 are needed): low and high cover {100 * coverage:.1f} %")
    print(
        f"RESULT name={name} ours={statistics.median(ours):.4g} peer={statistics.median(peer):.4g} unit={unit} "
        f"ratio={ratio:.3f} low={low:.3f} high={high:.3f}",
        flush=True,
    )


def lines_of(path):
    """Complete JSON lines of a file that may not be there yet."""
    try:
        with open(path) as file:
            return [json.loads(line) for line in file if line.endswith("\n")]
    except FileNotFoundError:
        return []


def descendants(root):
    """Process ids below `root`."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as file:
                    parent = int(file.read().rsplit(")", 1)[1].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            children.setdefault(parent, []).append(int(entry))
    found, wanted = [], [root]
    while wanted:
        below = children.get(wanted.pop(), [])
        found += below
        wanted += below
    return found


# Steps under way when a program is stopped, whose seconds count the pause: cfm_train reports a step once the next one is done.
IN_FLIGHT = 2


class Paused:
    """A program that writes a line a step to `events` and runs only while asked to (SIGSTOP, SIGCONT)."""

    def __init__(self, command, events, env=None):
        self.events = events
        os.makedirs(os.path.dirname(events), exist_ok=True)
        self.log = open(events + ".log", "w")
        self.process = subprocess.Popen(
            command, stdout=self.log, stderr=self.log, env={**os.environ, **(env or {})}, start_new_session=True
        )

    def steps(self):
        return [line for line in lines_of(self.events) if line["event"] == "step"]

    def wait_for(self, count):
        while len(self.steps()) < count:
            if self.process.poll() is not None:
                sys.exit(f"bench: {self.process.args} ended with {self.process.returncode}: see {self.log.name}")
            time.sleep(0.02)

    def signal(self, number):
        """To the program and everything it started."""
        for process in [self.process.pid, *descendants(self.process.pid)]:
            try:
                os.kill(process, number)
            except ProcessLookupError:
                pass

    def pause(self):
        self.signal(signal.SIGSTOP)

    def run(self, steps):
        """Lets it make `steps` whole steps after those it was stopped in; their lines."""
        before = len(self.steps())
        self.signal(signal.SIGCONT)
        self.wait_for(before + IN_FLIGHT + steps)
        self.pause()
        return self.steps()[before + IN_FLIGHT :][:steps]

    def end(self):
        self.signal(signal.SIGKILL)
        self.process.wait()
        self.log.close()


def pack(folder, images, size, channels=3, classes=0, seed=0):
    """Shards of random images made by cfm_pack; their folder."""
    generator = np.random.default_rng(seed)
    source = os.path.join(folder, "source.npz")
    np.savez(
        source,
        arr_0=generator.integers(0, 256, (images, size, size, channels), dtype=np.uint8),
        arr_1=generator.integers(0, max(classes, 1), images),
    )
    subprocess.run(
        ["cfm_pack", f"--source={source}", f"--out={folder}/data", "--split=train", "--shards=2"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return os.path.join(folder, "data", "train")
