"""What a run's metrics cost: nanoseconds a step, as a share of the digits' step, and CPU milliseconds a scrape."""

import argparse
import glob
import json
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
    """Median seconds of a step of configs/digits.flags on two ranks."""
    subprocess.run(["cfm_pack", "--source=configs/digits/digits.npz", f"--out={folder}/data", "--split=train", "--grey_levels=17"],
                   check=True, stdout=subprocess.DEVNULL)
    subprocess.run(MPIRUN + ["-n", "2", "cfm_train", "--flagfile=configs/digits.flags", f"--run_dir={folder}/run", "--steps=110",
                             f"--train_data={folder}/data/train", "--val_every=0", "--sample_every=0", "--log_every=1"],
                   check=True, stdout=subprocess.DEVNULL)
    return statistics.median(line["step_seconds"] for line in lines_of(f"{folder}/run/events.jsonl") if line["event"] == "step")


def cost(folder):
    """Nanoseconds of a step, and CPU seconds of a scrape beyond those of a process that is left alone."""
    with subprocess.Popen(["bench_metrics", folder, str(arguments.steps)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        def cpu():
            program.stdin.write("\n")
            program.stdin.flush()
            return float(program.stdout.readline())
        nanoseconds = json.loads(program.stdout.readline())["nanoseconds_a_step"]
        with open(glob.glob(f"{folder}/metrics-*.address")[0]) as file:
            url = f"http://{file.read().strip()}/metrics"
        before = cpu()
        for _ in range(arguments.scrapes):
            with urllib.request.urlopen(url) as answer:
                size = len(answer.read())
        seconds = (cpu() - before) / arguments.scrapes
        program.stdin.close()
    return nanoseconds, seconds, size


with tempfile.TemporaryDirectory() as folder:
    step = digits_step(folder)
    costs = [cost(folder) for _ in range(arguments.repeats)]
shares = [1e-9 * nanoseconds / step for nanoseconds, _, _ in costs]
median, low, high, _ = interval(shares)
print(f"a step of the digits on two ranks: {1000 * step:.1f} ms; a scrape: {costs[0][2]:,} bytes")
print(f"RESULT name=metrics_step ours={statistics.median(n for n, _, _ in costs):.0f} unit=ns share={100 * median:.4f}% "
      f"low={100 * low:.4f}% high={100 * high:.4f}%")
print(f"RESULT name=metrics_scrape ours={1000 * statistics.median(s for _, s, _ in costs):.3f} unit=ms")
