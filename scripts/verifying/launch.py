"""The user's own launch command, run in folders of ours, and interrupted."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

PROGRAM = "cfm_train"
REQUEUE = 75


class Failed(Exception):
    """It could not be tried."""


def with_flag(words, name, value):
    """`words` with --name=value in place of their own, or behind them."""
    kept = [word for word in words if not word.startswith(f"--{name}=")]
    return [*kept, f"--{name}={value}"]


def events(run, name):
    found = []
    try:
        lines = (run / "events.jsonl").read_text().splitlines()
    except OSError:
        return found
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if event.get("event") == name:
            found.append(event)
    return found


def processes():
    """number -> (its parent's, the name of its program) of all processes that can be seen."""
    found = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            command = (folder / "cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
            parent = int((folder / "stat").read_text().rpartition(") ")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue
        found[int(folder.name)] = (parent, os.path.basename(command))
    return found


def ranks_below(process):
    """Processes of cfm_train that descend from this one, or are it; not the helpers that they start themselves."""
    every = processes()
    ranks = []
    for number, (parent, name) in every.items():
        if name != PROGRAM or every.get(parent, (0, ""))[1] == PROGRAM:
            continue
        above = number
        while above in every and above != process:
            above = every[above][0]
        if above == process:
            ranks.append(number)
    return sorted(ranks)


class Launch:
    def __init__(self, words, steps):
        if not any(os.path.basename(word) == PROGRAM for word in words):
            raise Failed(f"'{' '.join(words)}' starts no {PROGRAM}: give the whole command, with --flagfile or flags")
        self.words, self.steps = words, steps

    def command(self, run):
        """In a folder of ours; as short, with a warm-up that fits into it; with a line for each step; unseen by a Prometheus."""
        words = self.words
        for name, value in (("run_dir", run), ("steps", self.steps), ("warmup_steps", self.steps // 4), ("log_every", 1), ("metrics", ""), ("metrics_textfile", "")):
            words = with_flag(words, name, value)
        return words

    def start(self, run, log):
        with open(log, "wb") as output:
            try:
                return subprocess.Popen(self.command(run), stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
            except OSError as problem:
                raise Failed(f"{self.words[0]} cannot be started: {problem}") from problem

    @staticmethod
    def end_of(log):
        return "\n".join(Path(log).read_text(errors="replace").splitlines()[-15:])

    def run(self, run, log):
        code = self.start(run, log).wait()
        if code != 0:
            raise Failed(f"a run in {run} ended with exit code {code}; the end of {log}:\n{self.end_of(log)}")

    def run_until_stopped(self, run, log):
        """Interrupts a run half-way. Returns the step that it stopped at."""
        process = self.start(run, log)
        try:
            while process.poll() is None and max((e["step"] for e in events(run, "step")), default=0) < self.steps // 2:
                time.sleep(0.01)
            ranks = ranks_below(process.pid)
            if ranks:
                os.kill(ranks[0], signal.SIGTERM)
            elif process.poll() is None:  # its ranks are on other machines: launchers hand this one on
                process.send_signal(signal.SIGUSR1)
            code = process.wait()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        stops = events(run, "stop")
        if code == 0:
            raise Failed(f"the run was done before the signal came: give more --steps than {self.steps}")
        if code != REQUEUE or not stops:
            raise Failed(f"after SIGTERM to a rank the exit code was {code}, expected {REQUEUE}; the end of {log}:\n{self.end_of(log)}")
        return stops[-1]["step"]

    def run_on_from(self, step, run, log):
        """Continues a run to its end. One that began again from an earlier step would come to the same bits, and show nothing."""
        self.run(run, log)
        rewinds = [event["step"] for event in events(run, "rewind_to")]
        if not rewinds or rewinds[-1] != step:
            found = f"at step {rewinds[-1]}" if rewinds else "from nothing"
            raise Failed(f"the run in {run} was to continue at step {step}, and began {found}: that tells nothing of resuming; the end of {log}:\n{self.end_of(log)}")

    @staticmethod
    def first_loss_that_differs(first, second):
        """The first step whose losses are not the same number; None if there is none."""
        one, two = ({event["step"]: event["loss"] for event in events(run, "step")} for run in (first, second))
        return next((step for step in sorted(set(one) | set(two)) if one.get(step) != two.get(step)), None)
