"""Run folders made by hand, the script run as a user runs it, and its page taken apart."""

import json
import re
import struct
import subprocess
import sys
import tempfile
import unittest
import zipfile
import zlib
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))


def event(kind, attempt=1, **fields):
    return json.dumps({"time": "2026-01-31T23:59:59.123Z", "attempt": attempt, "event": kind, **fields})


def step(number, loss, attempt=1):
    return event("step", attempt, step=number, loss=loss, gradient_norm=1.0, lr=0.1, step_seconds=0.5)


def start(number=0, attempt=1):
    return event("start", attempt, step=number, steps=9, ranks=1, global_batch=8, parameters=12)


def npy(descr, shape, data):
    header = repr({"descr": descr, "fortran_order": False, "shape": tuple(shape)}).encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


def trajectories(file, states, times):
    """states: [sample][time][pixel], a 1 x 1 x pixels image each."""
    flat = [value for sample in states for state in sample for value in state]
    shape = (len(states), len(times), 1, 1, len(states[0][0]))
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x.npy", npy("<f4", shape, struct.pack(f"<{len(flat)}f", *flat)))
        archive.writestr("t.npy", npy("<f8", (len(times),), struct.pack(f"<{len(times)}d", *times)))


def png(width=2, height=2):
    chunk = lambda name, body: struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))  # noqa: E731
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * (width + 1) * height)) + chunk(b"IEND", b"")


class Page(HTMLParser):
    """Fails on tags that do not nest."""

    VOID = {"meta", "img", "input"}

    def __init__(self, text):
        super().__init__()
        self.text, self.open, self.images, self.links = text, [], [], []
        self.feed(text)
        self.close()
        if self.open:
            raise AssertionError(f"never closed: {self.open}")
        self.charts = [ElementTree.fromstring(svg) for svg in re.findall(r"<svg .*?</svg>", text, re.DOTALL)]

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "img":
            self.images.append(dict(attrs)["src"])
        self.links += [value for name, value in attrs if name in ("href", "src")]

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            raise AssertionError(f"</{tag}> closes nothing at {self.getpos()}")


class ReportTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def run_folder(self, name, lines=None, **flags):
        """A run with events, and flags if there are any."""
        folder = self.folder / name
        (folder / "results").mkdir(parents=True)
        (folder / "samples").mkdir()
        (folder / "events.jsonl").write_text("".join(line + "\n" for line in (lines or [start(), step(1, 2.0), step(2, 1.0)])))
        if flags:
            checkpoint = folder / "checkpoints" / "step_000000002"
            checkpoint.mkdir(parents=True)
            (checkpoint / "manifest.json").write_text(json.dumps({"flags": flags, "source_revision": "0123456789abcdef"}))
        return folder

    def report(self, *arguments):
        command = [sys.executable, "-B", str(ROOT / "scripts" / "report"), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    def page_of(self, *runs):
        finished = self.report(*runs, f"--out={self.folder / 'out'}")
        self.assertEqual(finished.returncode, 0, finished.stderr)
        return Page((self.folder / "out" / "report.html").read_text("utf-8"))

    def table(self, name, ending="csv"):
        return (self.folder / "out" / "tables" / f"{name}.{ending}").read_text("utf-8")
