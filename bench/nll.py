"""Seconds, NFE and error of bits/dim on a trained network of the digits: cfm_eval_nll against torchdiffeq's dopri5 over FFJORD's field."""

import argparse
import csv
import glob
import json
import math
import os
import subprocess
import sys
import tempfile

import numpy as np

from pairs import MPIRUN, result

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--pairs", type=int, default=15)
parser.add_argument("--images", type=int, default=64)
parser.add_argument("--net_batch", type=int, default=64)
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--train_steps", type=int, default=1000)
parser.add_argument("--tolerances", default="1e-3,1e-4,1e-5")
parser.add_argument("--tolerance", default="1e-5", help="of the peer that is timed: the paper's")
parser.add_argument("--grids", default="warped:6,warped:8,warped:12,warped:16,warped:24,warped:32,uniform:12,uniform:24,edm:24")
parser.add_argument("--reference_tolerance", default="1e-7")
parser.add_argument("--weights", default="", help="a weights file in place of training one")
arguments = parser.parse_args()
TORCHDIFFEQ = ["torchdiffeq==0.2.5", "scipy==1.18.1"]


def torchdiffeq_folder():
    """torchdiffeq and what it imports, in a folder of its own beside the wheel's environment."""
    folder = os.path.join(os.path.dirname(sys.prefix), "bench-" + "-".join(TORCHDIFFEQ).replace("==", "-"))
    if not os.path.exists(f"{folder}/torchdiffeq/__init__.py"):
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
                        f"--target={folder}", *TORCHDIFFEQ], check=True)
    return folder


class Peer:
    def __init__(self, weights, data, precision):
        path = os.pathsep.join([os.environ["PYTHONPATH"], torchdiffeq_folder()])
        self.process = subprocess.Popen(
            [sys.executable, "bench/peer_nll.py", f"--weights={weights}", f"--data={data}", f"--batch={arguments.net_batch}",
             f"--threads={arguments.threads}", f"--precision={precision}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path})

    def solve(self, tolerance):
        self.process.stdin.write(f"solve {tolerance} {arguments.images}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit(f"bench: the peer ended with {self.process.wait()}")
        answer = json.loads(answer)
        return answer["seconds"], answer["nfe"], np.array(answer["bits"])

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def digits(folder):
    """Shards of training and held-out digits, and the weights of a network that has learnt the former."""
    for split, first, count in (("train", 0, 1497), ("val", 1497, 300)):
        subprocess.run(["cfm_pack", "--source=configs/digits/digits.npz", f"--out={folder}/data", f"--split={split}", "--grey_levels=17",
                        f"--first={first}", f"--count={count}"], check=True, stdout=subprocess.DEVNULL)
    if arguments.weights:
        return f"{folder}/data/val", arguments.weights
    subprocess.run(MPIRUN + ["-n", "2", "cfm_train", "--flagfile=configs/digits.flags", f"--run_dir={folder}/run",
                             f"--train_data={folder}/data/train", "--val_data=", "--val_every=0", "--sample_every=0",
                             "--checkpoint_every=0", f"--steps={arguments.train_steps}"], check=True, stdout=subprocess.DEVNULL)
    return f"{folder}/data/val", sorted(glob.glob(f"{folder}/run/checkpoints/step_*/ema_0.99.safetensors"))[-1]


def ours(folder, weights, data, *flags):
    """Seconds (of everything but starting and reading the weights), mean NFE, bits/dim by image."""
    with tempfile.TemporaryDirectory(dir=folder) as results:
        subprocess.run(["cfm_eval_nll", f"--weights_file={weights}", f"--results_dir={results}", f"--data={data}",
                        f"--count={arguments.images}", f"--net_batch={arguments.net_batch}", f"--threads={arguments.threads}",
                        "--check_images=0", *flags], check=True, stdout=subprocess.DEVNULL)
        with open(glob.glob(f"{results}/*.json")[0]) as file:
            found = json.load(file)
        with open(glob.glob(f"{results}/*.csv")[0]) as file:
            bits = np.array([float(row["bits_per_dim"]) for row in csv.DictReader(file)])
    return found["seconds"], found["nfe"]["mean"], bits


def rms(values):
    return math.sqrt(np.mean(np.square(values)))


def line(name, measured, reference):
    seconds, nfe, bits = measured
    print(f"{name:44} {seconds:8.2f} s  NFE {nfe:6.1f}  rms error {rms(bits - reference):.2e} bits/dim  bias {np.mean(bits - reference):+.2e}",
          flush=True)
    return rms(bits - reference), seconds


with tempfile.TemporaryDirectory() as folder:
    data, weights = digits(folder)
    tight = [f"--atol={arguments.reference_tolerance}", f"--rtol={arguments.reference_tolerance}", "--precision=fp64"]
    _, nfe, reference = ours(folder, weights, data, *tight)
    print(f"reference: ours in float64 at {arguments.reference_tolerance}: {np.mean(reference):.5f} bits/dim, NFE {nfe:.1f}", flush=True)
    # The same work: torchdiffeq in float64 comes to the same values, dequantisation and probes included.
    exact = Peer(weights, data, "fp64")
    difference = rms(exact.solve(1e-6)[2] - reference)
    exact.end()
    print(f"torchdiffeq in float64 at 1e-6 differs from it by {difference:.1e} bits/dim (rms)")
    assert difference < 1e-4, "the two do not compute the same thing"

    peer = Peer(weights, data, "fp32")
    peer.solve(1e-2)  # warms up
    peer_error = {}
    for tolerance in arguments.tolerances.split(","):
        peer_error[tolerance], _ = line(f"torchdiffeq dopri5 {tolerance}", peer.solve(tolerance), reference)
    settings = {}
    for tolerance in arguments.tolerances.split(","):
        tolerances = [f"--atol={tolerance}", f"--rtol={tolerance}"]
        settings[f"dopri5 {tolerance}, own steps"] = tolerances
        settings[f"dopri5 {tolerance}, own steps, norm of x"] = tolerances + ["--error_norm=x"]
        settings[f"dopri5 {tolerance}, the batch's steps"] = tolerances + ["--step_control=batch"]
    for grid in arguments.grids.split(","):
        kind, steps = grid.split(":")
        settings[f"dp5 on the {kind} grid of {steps}"] = ["--solver=dp5", f"--grid={kind}", f"--steps={steps}"]
    measured = {name: line(name, ours(folder, weights, data, *flags), reference) for name, flags in settings.items()}

    # The fastest of ours that is no less exact than the peer.
    limit = peer_error[arguments.tolerance]
    exact_enough = [name for name, (error, _) in measured.items() if error <= limit]
    if not exact_enough:
        sys.exit(f"bench: none of ours is as exact as the peer at {arguments.tolerance}: give finer --grids or --tolerances")
    fastest = min(exact_enough, key=lambda name: measured[name][1])
    same = f"dopri5 {arguments.tolerance}, the batch's steps"
    print(f"timed at equal error: {fastest}, rms {measured[fastest][0]:.2e} against {limit:.2e}; at equal settings: {same}")
    equal_error, equal_settings, of_peer = [], [], []
    for _ in range(arguments.pairs):
        of_peer.append(peer.solve(arguments.tolerance)[0])
        equal_error.append(ours(folder, weights, data, *settings[fastest])[0])
        equal_settings.append(ours(folder, weights, data, *settings[same])[0])
    peer.end()
    result("nll_equal_settings", equal_settings, of_peer, "s", more_is_better=False)
    result("nll_equal_error", equal_error, of_peer, "s", more_is_better=False)
