"""Seconds, NFE and error of bits/dim on a trained network of the digits: cfm_eval_nll against torchdiffeq's dopri5 over FFJORD's field."""

import argparse
import csv
import glob
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile

import numpy as np

from pairs import MPIRUN, result
from reporting.chart import Chart, Series, standalone

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--pairs", type=int, default=15)
parser.add_argument("--images", type=int, default=64)
parser.add_argument("--net_batch", type=int, default=64)
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--train_steps", type=int, default=1000)
parser.add_argument("--tolerances", default="1e-3,1e-4,1e-5")
parser.add_argument("--tolerance", default="1e-5", help="of the peer that is timed: the paper's")
parser.add_argument("--grids", default="rk4_38:warped:12,rk4_38:warped:16,rk4_38:warped:24,rk4_38:warped:32,rk4_38:warped:48,rk4_38:uniform:32,"
                    "rk4_38:edm:32,midpoint:warped:48,midpoint:warped:96,dp5:warped:16,dp5:warped:32", help="SOLVER:GRID:STEPS,...")
parser.add_argument("--spread", default="1,7,64", help="values of --net_batch that are compared; empty: none")
parser.add_argument("--spread_images", type=int, default=16)
parser.add_argument("--reference_tolerance", default="1e-7")
parser.add_argument("--plot", default="runs/bench/nll.svg", help="where error against time is drawn")
parser.add_argument("--weights", default="", help="a weights file in place of training one")
arguments = parser.parse_args()
CHOSEN_BY, REPORTED = slice(0, None, 2), slice(1, None, 2)  # images: a setting is not judged by those that it was chosen by
TORCHDIFFEQ = "torchdiffeq==0.2.5"  # scipy, which it imports, is there for the tests


def torchdiffeq_folder():
    """A folder of its own beside the wheel's environment."""
    folder = os.path.join(os.path.dirname(sys.prefix), "bench-" + TORCHDIFFEQ.replace("==", "-"))
    if not os.path.exists(f"{folder}/torchdiffeq/__init__.py"):
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
                        f"--target={folder}", TORCHDIFFEQ], check=True)
    return folder


class Peer:
    def __init__(self, weights, data, precision):
        path = os.pathsep.join([os.environ["PYTHONPATH"], torchdiffeq_folder()])
        self.process = subprocess.Popen(
            [sys.executable, "bench/peer_nll.py", f"--weights={weights}", f"--data={data}", f"--batch={arguments.net_batch}",
             f"--threads={arguments.threads}", f"--precision={precision}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path})

    def ask(self, what):
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit(f"bench: the peer ended with {self.process.wait()}")
        return json.loads(answer)

    def solve(self, tolerance):
        answer = self.ask(f"solve {tolerance} {arguments.images}")
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


def ours(folder, weights, data, *flags, images=arguments.images, net_batch=arguments.net_batch):
    """Seconds (of everything but starting and reading the weights), mean NFE, bits/dim by image."""
    with tempfile.TemporaryDirectory(dir=folder) as results:
        subprocess.run(["cfm_eval_nll", f"--weights_file={weights}", f"--results_dir={results}", f"--data={data}",
                        f"--count={images}", f"--net_batch={net_batch}", f"--threads={arguments.threads}", *flags],
                       check=True, stdout=subprocess.DEVNULL)
        with open(glob.glob(f"{results}/*.json")[0]) as file:
            found = json.load(file)
        with open(glob.glob(f"{results}/*.csv")[0]) as file:
            bits = np.array([float(row["bits_per_dim"]) for row in csv.DictReader(file)])
    return found["seconds"], found["nfe"]["mean"], bits


def our_calls(weights):
    finished = subprocess.run(["bench_calls", weights, str(arguments.net_batch), str(arguments.threads)], input="calls\n", check=True,
                              stdout=subprocess.PIPE, text=True)
    return json.loads(finished.stdout)


def medians(calls):
    return {name: statistics.median(one[name] for one in calls) for name in calls[0]}


def shares(name, seconds, nfe, stages_with_gradient, call):
    """Where the time goes, from the number of network calls of a batch and the seconds of one. The rest of a noisy run may be below 0."""
    batches = -(-arguments.images // arguments.net_batch)
    calls, gradients = batches * nfe, batches * stages_with_gradient
    forward, vjp = calls * call["forward"], gradients * (call["with_gradient"] - call["forward"])
    print(f"{name}: {seconds:.2f} s, of these {calls:.0f} forward passes {forward:.2f} s, {gradients:.0f} gradients {vjp:.2f} s, "
          f"everything else {seconds - forward - vjp:.2f} s", flush=True)


def spread(folder, weights, data, reference, name, flags):
    """What the batch's shape does to a setting: how far its values lie apart, beside how far they lie from the reference."""
    shapes = arguments.spread.split(",")
    images = min(arguments.spread_images, arguments.images)
    bits = {shape: ours(folder, weights, data, *flags, images=images, net_batch=shape)[2] for shape in shapes}
    errors = ", ".join(f"{rms(found - reference[:images]):.1e}" for found in bits.values())
    print(f"spread of {name} over --net_batch {', '.join(shapes)}, {images} images: rms errors {errors}")
    for i, one in enumerate(shapes):
        for other in shapes[i + 1:]:
            apart = np.abs(bits[one] - bits[other])
            print(f"  {one} and {other}: rms {rms(apart):.1e}, largest {apart.max():.1e}, {np.sum(apart < 1e-6)} of {images} within 1e-6", flush=True)


def plot(points):
    """points: {family: [(seconds, rms error)]}."""
    series = [Series(family, sorted(found), i, 1 if family.startswith("torchdiffeq") else 0) for i, (family, found) in enumerate(points.items())]
    chart = Chart("Error of bits/dim against time", "seconds", "rms error, bits/dim", series, log_x=True, log_y=True)
    os.makedirs(os.path.dirname(os.path.abspath(arguments.plot)), exist_ok=True)
    with open(arguments.plot, "w") as file:
        file.write(standalone(chart))
    print(f"plot: {arguments.plot}", flush=True)


def rms(values):
    return math.sqrt(np.mean(np.square(values)))


def line(name, measured, reference):
    seconds, nfe, bits = measured
    print(f"{name:44} {seconds:8.2f} s  NFE {nfe:6.1f}  rms error {rms(bits - reference):.2e} bits/dim  bias {np.mean(bits - reference):+.2e}",
          flush=True)
    return measured


torchdiffeq_folder()  # before anything takes long
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
    tolerances = arguments.tolerances.split(",")
    peer_measured = {tolerance: line(f"torchdiffeq dopri5 {tolerance}", peer.solve(tolerance), reference) for tolerance in tolerances}
    settings, families = {}, {}

    def add(family, name, flags):
        settings[name] = flags
        families.setdefault(family, []).append(name)

    for tolerance in tolerances:
        flags = [f"--atol={tolerance}", f"--rtol={tolerance}"]
        add("ours, dopri5, own steps", f"dopri5 {tolerance}, own steps", flags)
        add("ours, dopri5, own steps, norm of x", f"dopri5 {tolerance}, own steps, norm of x", flags + ["--error_norm=x"])
        add("ours, dopri5, the batch's steps", f"dopri5 {tolerance}, the batch's steps", flags + ["--step_control=batch"])
    for setting in arguments.grids.split(","):
        solver, kind, steps = setting.split(":")
        add(f"ours, {solver} on the {kind} grid", f"{solver} on the {kind} grid of {steps}",
            [f"--solver={solver}", f"--grid={kind}", f"--steps={steps}", "--check_images=0"])
    measured = {name: line(name, ours(folder, weights, data, *flags), reference) for name, flags in settings.items()}

    def error(found, images=slice(None)):
        return rms((found[2] - reference)[images])

    points = {family: [(measured[name][0], error(measured[name])) for name in names] for family, names in families.items()}
    plot({"torchdiffeq, dopri5": [(found[0], error(found)) for found in peer_measured.values()], **points})

    if arguments.spread:
        for name in (f"dopri5 {arguments.tolerance}, own steps", next(name for name in settings if " grid of " in name)):
            spread(folder, weights, data, reference, name, settings[name])

    # The fastest of ours that is no less exact than the peer on one half of the images; how exact on the other half is said.
    limit = error(peer_measured[arguments.tolerance], CHOSEN_BY)
    exact_enough = [name for name, found in measured.items() if error(found, CHOSEN_BY) <= limit]
    if not exact_enough:
        sys.exit(f"bench: none of ours is as exact as the peer at {arguments.tolerance}: give finer --grids or --tolerances")
    fastest = min(exact_enough, key=lambda name: measured[name][0])
    same, default = f"dopri5 {arguments.tolerance}, the batch's steps", f"dopri5 {arguments.tolerance}, own steps"
    print(f"timed at equal error: {fastest}, chosen on every other image by rms {error(measured[fastest], CHOSEN_BY):.2e} against {limit:.2e}; "
          f"on the other images: rms {error(measured[fastest], REPORTED):.2e} against {error(peer_measured[arguments.tolerance], REPORTED):.2e}")
    print(f"timed at equal settings: {same}; as our default: {default}")
    equal_error, equal_settings, by_default, of_peer, our_call, peer_call = [], [], [], [], [], []
    for _ in range(arguments.pairs):
        our_call.append(our_calls(weights))
        peer_call.append(peer.ask("calls"))
        of_peer.append(peer.solve(arguments.tolerance)[0])
        equal_error.append(ours(folder, weights, data, *settings[fastest])[0])
        equal_settings.append(ours(folder, weights, data, *settings[same])[0])
        by_default.append(ours(folder, weights, data, *settings[default])[0])
    if arguments.images % arguments.net_batch == 0:  # padding makes calls that NFE does not count
        call, nfe = medians(our_call), measured[same][1]
        shares(f"ours, {same}", statistics.median(equal_settings), nfe, nfe - (nfe - 2) / 6, call)
        if " grid of " in fastest:  # rows with steps of their own finish at different calls
            gradients = {"midpoint": 1 / 2, "dp5": 5 / 6}.get(fastest.split()[0], 1)  # of its stages: none where the weight is 0
            shares(f"ours, {fastest}", statistics.median(equal_error), measured[fastest][1], measured[fastest][1] * gradients, call)
        peer_nfe = peer_measured[arguments.tolerance][1]
        shares(f"torchdiffeq dopri5 {arguments.tolerance}", statistics.median(of_peer), peer_nfe, peer_nfe, medians(peer_call))
    peer.end()
    result("nll_equal_settings", equal_settings, of_peer, "s", more_is_better=False)
    result("nll_default", by_default, of_peer, "s", more_is_better=False)
    result("nll_equal_error", equal_error, of_peer, "s", more_is_better=False)
