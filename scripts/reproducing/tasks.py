"""What is to be done: of each run a training, then its likelihood and its FID, which wait for nothing else."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

from .programs import Programs
from .run import Run


@dataclass(eq=False)
class Task:
    kind: str  # "train", "nll", "fid"
    run: Run
    command: Callable[[], list]
    seconds: Callable[[], float]  # that it took, once it is done; nan: not known
    log: Path
    done: bool
    after: list = field(default_factory=list)  # tasks that must be done before

    def is_ready(self) -> bool:
        return not self.done and all(task.done for task in self.after)


def tasks_of(runs, programs: Programs, logs: Path) -> list:
    """In the order in which they are begun: seed by seed, so that early on every method has a number."""
    tasks = []
    for run in runs:
        trained = run.is_trained()
        train = Task("train", run, lambda run=run: programs.train(run), run.seconds_trained, logs / f"{run.name}-train.log", trained)
        tasks.append(train)
        for kind, command, result in (("nll", programs.likelihood, run.likelihood), ("fid", programs.distance, run.distance)):
            tasks.append(Task(kind, run, lambda run=run, command=command: command(run), lambda run=run, kind=kind: run.seconds_of(kind),
                              logs / f"{run.name}-{kind}.log", trained and result() is not None, [train]))
    return tasks


def forecast(tasks, jobs) -> float | None:
    """Seconds until all are done, if each takes as long as the same of its method, or else of the others, has taken; None: nothing to tell it from."""
    took = {}
    for task in tasks:
        if task.done and math.isfinite(seconds := task.seconds()):
            took.setdefault((task.kind, task.run.method.key), []).append(seconds)
            took.setdefault(task.kind, []).append(seconds)
    total = 0.0
    for task in tasks:
        if not task.done:
            known = took.get((task.kind, task.run.method.key)) or took.get(task.kind)
            if not known:
                return None
            total += sum(known) / len(known)
    return total / jobs
