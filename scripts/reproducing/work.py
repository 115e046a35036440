"""Does tasks, several at once. A signal, or a task that fails, stops all: the programs keep what they have, and the same command continues."""

import ctypes
import signal
import subprocess
import time

from reporting.bad_input import Failed

from .tasks import forecast

STOPPED = 75  # exit code of a program that a signal stopped: it has saved
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
WORDS = {"train": "training", "nll": "NLL", "fid": "FID"}
PR_SET_PDEATHSIG = 1


class Stopped(Exception):
    """A signal came."""


def work(tasks, jobs, finished):
    """Calls finished(task) after each, when it is done. Raises Stopped or Failed after all that was begun has ended."""
    raised = []
    before = {number: signal.signal(number, lambda number, _: raised.append(number)) for number in SIGNALS}
    running, failure, told = {}, None, False  # running: process by task
    try:
        while running or (not raised and not failure and any(not task.done for task in tasks)):
            if (raised or failure) and not told:
                print("stopping     the programs keep what they have" if running else "stopping", flush=True)
                for process in running.values():
                    process.send_signal(signal.SIGUSR1)
                told = True
            ready = [] if raised or failure else [task for task in tasks if task not in running and task.is_ready()]
            for task in ready[: jobs - len(running)]:
                running[task] = _begin(task)
            for task, process in list(running.items()):
                code = process.poll()
                if code is None:
                    continue
                del running[task]
                if code == 0:
                    task.done = True
                    finished(task)
                elif code == STOPPED:
                    raised.append(signal.SIGUSR1)
                elif not told:
                    failure = failure or Failed(_last_words(task, code), 2 if code == 2 else 1)
            time.sleep(0.05)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if failure:
        raise failure
    if raised:
        raise Stopped


class Progress:
    """One line a finished task: which, of how many, how long it took, how long all has taken since this start and will take."""

    def __init__(self, tasks, jobs):
        self.tasks, self.jobs, self.started = tasks, jobs, time.monotonic()

    def line(self, task) -> str:
        done = sum(task.done for task in self.tasks)
        return (f"{done:4d} of {len(self.tasks)}  {WORDS[task.kind]:10}{task.run.name:24}{task.seconds():6.0f} s   "
                f"so far {minutes(time.monotonic() - self.started)}, {to_go(self.tasks, self.jobs)}")


def to_go(tasks, jobs) -> str:
    seconds = forecast(tasks, jobs)
    return "to go: known after the first of each" if seconds is None else f"to go about {minutes(seconds)}"


def minutes(seconds) -> str:
    return f"{seconds / 60:.1f} min"


def _begin(task):
    """In a group of its own, so that a terminal's Ctrl-C comes to this script alone; told to save and stop if this script dies."""
    task.log.parent.mkdir(parents=True, exist_ok=True)
    die_with_parent = lambda: ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGUSR1)  # noqa: E731
    with open(task.log, "ab") as log:
        return subprocess.Popen(task.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, process_group=0, preexec_fn=die_with_parent)


def _last_words(task, code) -> str:
    words = task.log.read_text("utf-8", "replace").strip().splitlines()[-5:]
    return "\n  ".join([f"{task.run.name}: {WORDS[task.kind]}: ended with {code}; the end of {task.log}:", *words])
