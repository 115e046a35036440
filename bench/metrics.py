"""What a run's metrics cost: nanoseconds a step, as a share of the digits' step, and CPU milliseconds a scrape.

Of the training thread: to a step's own comes its share of the look at the system every five seconds, with 200 results in the run's folder.
"""

import argparse
import glob
import json
import pathlib
import statistics
import subprocess
import tempfile
import urllib.request

from pairs import MPIRUN, interval, lines_of

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--repeats", type=int, default=15)
parser.add_argument("--steps", type=int, default=20000)
parser.add_argument("--scrapes", type=int, default=200)
arguments = parser.parse_args()


def digits_step(folder):
    """Seconds of a step of configs/digits.flags on two ranks: the median, and the interval for it."""
    subprocess.run(["cfm_pack", "--source=configs/digits/digits.npz", f"--out={folder}/data", "--split=train", "--grey_levels=17"],
                   check=True, stdout=subprocess.DEVNULL)
    subprocess.run(MPIRUN + ["-n", "2", "cfm_train", "--flagfile=configs/digits.flags", f"--run_dir={folder}/run", "--steps=110",
                             f"--train_data={folder}/data/train", "--val_every=0", "--sample_every=0", "--log_every=1"],
                   check=True, stdout=subprocess.DEVNULL)
    return interval([line["step_seconds"] for line in lines_of(f"{folder}/run/events.jsonl") if line["event"] == "step"])[:3]


def with_results(folder, count=200):
    """A run's folder with so many results, as evaluators leave them."""
    results = pathlib.Path(folder) / "results"
    results.mkdir(parents=True)
    for step in range(count):
        result = {"format_version": 1, "metric": "nll", "bits_per_dim": 2.5, "nfe": {"mean": 80}, "settings": {"note": "x" * 2000}}
        (results / f"nll-step_{step:09}-0123456789.json").write_text(json.dumps(result))


def cost(folder):
    """What bench_metrics says of itself, and CPU seconds of a scrape beyond those of a process that is left alone."""
    with subprocess.Popen(["bench_metrics", folder, str(arguments.steps)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        def cpu():
            program.stdin.write("\n")
            program.stdin.flush()
            return float(program.stdout.readline())
        said = json.loads(program.stdout.readline())
        with open(glob.glob(f"{folder}/metrics-*.address")[0]) as file:
            url = f"http://{file.read().strip()}/metrics"
        before = cpu()
        for _ in range(arguments.scrapes):
            with urllib.request.urlopen(url) as answer:
                size = len(answer.read())
        said["scrape_seconds"] = (cpu() - before) / arguments.scrapes
        said["scrape_bytes"] = size
        program.stdin.close()
    return said


with tempfile.TemporaryDirectory() as folder:
    step, shortest, longest = digits_step(folder)
    with_results(f"{folder}/watched")
    costs = [cost(f"{folder}/watched") for _ in range(arguments.repeats)]


def shares(of_step):
    """Of a step so long, as a share of it: the median, and the interval for it."""
    return interval([1e-9 * one["nanoseconds_a_step"] / of_step + one["look_seconds"] / one["look_every"] for one in costs])[:3]


# The step is known to an interval of its own: the dearest case has the shortest step.
share, low, high = shares(step)[0], shares(longest)[1], shares(shortest)[2]
median = {name: statistics.median(one[name] for one in costs) for name in costs[0]}
print(f"a step of the digits on two ranks: {1000 * step:.1f} ms ({1000 * shortest:.1f} to {1000 * longest:.1f}); a scrape: {costs[0]['scrape_bytes']:,} bytes")
print(f"a look at the system: {1e3 * median['look_seconds']:.3f} ms every {median['look_every']:.0f} s")
print(f"RESULT name=metrics_step ours={median['nanoseconds_a_step']:.0f} unit=ns share={100 * share:.4f}% low={100 * low:.4f}% high={100 * high:.4f}%")
print(f"RESULT name=metrics_scrape ours={1000 * median['scrape_seconds']:.3f} unit=ms")
