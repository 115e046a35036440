"""One run of a method: its folder, what is there of it, and which of its checkpoints is evaluated."""

import math
from dataclasses import dataclass
from pathlib import Path

from reporting.bad_input import BadInput
from reporting.events import Events, read_events
from reporting.results import Fid, Nll, read_object, read_results

from .methods import Method

TAG = "reproduce"  # of results: an evaluator refuses to mix it with other settings


@dataclass(frozen=True)
class Chosen:
    step: int
    weights: str  # ema_<decay>, or raw where there is no average
    loss: float


@dataclass(frozen=True)
class Run:
    method: Method
    seed: int
    steps: int
    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def samples_file(self) -> Path:
        """Those that its FID is of."""
        return self.folder / "fid_samples.npz"

    def events(self) -> Events:
        return read_events(self.folder / "events.jsonl")

    def is_trained(self) -> bool:
        return self._checkpoint(self.steps).is_dir() and self.events().ended

    def chosen(self) -> Chosen:
        """The kept checkpoint of the least validation loss of the method itself; the earliest of equals. The longest average's, as it is what
        evaluators take."""
        lines = [event for event in self.events().validations if self._checkpoint(event["step"]).is_dir() and math.isfinite(event["loss"])]
        weights = max({event["weights"] for event in lines}, key=_decay, default=None)
        if weights is None:
            raise BadInput(f"{self.folder}: no kept checkpoint has a finite validation loss. Look at its events.jsonl and samples, or leave this run out.")
        best = min((event for event in lines if event["weights"] == weights), key=lambda event: (event["loss"], event["step"]))
        return Chosen(best["step"], weights, best["loss"])

    def likelihood(self) -> Nll | None:
        return self._result("nll")

    def distance(self) -> Fid | None:
        return self._result("fid")

    def seconds_trained(self) -> float:
        """Of its steps alone, whatever attempts it took: all logged ones stand for those between them."""
        steps = self.events().steps
        return self.steps * sum(event["step_seconds"] for event in steps) / len(steps) if steps else math.nan

    def revision(self) -> str:
        """Of the program that wrote the chosen checkpoint."""
        return str(read_object(self._checkpoint(self.chosen().step) / "manifest.json").get("source_revision", ""))

    def seconds_of(self, metric) -> float:
        """That the evaluator says it took (of its last start)."""
        return float(read_object(self._file(metric)).get("seconds", math.nan))

    def _checkpoint(self, step) -> Path:
        return self.folder / "checkpoints" / f"step_{step:09d}"

    def _file(self, metric) -> Path:
        return self.folder / "results" / f"{metric}-step_{self.chosen().step:09d}-{TAG}.json"

    def _result(self, metric):
        if not self._file(metric).exists():
            return None
        found = getattr(read_results(self.folder / "results"), metric)
        return next(result for result in found if result.tag == TAG and result.step == self.chosen().step)


def _decay(weights) -> float:
    return float(weights.removeprefix("ema_")) if weights.startswith("ema_") else -1.0
