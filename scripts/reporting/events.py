"""RUN/events.jsonl (docs/formats.md, Events) as it holds in the end: what a resume went back on is left out."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from .bad_input import BadInput

NUMBERS_BY_EVENT = {
    "step": ("step", "loss", "gradient_norm", "lr", "step_seconds"),
    "validation": ("step", "loss"),
    "checkpoint": ("step", "seconds"),
    "checkpoint_failed": ("step", "failures"),
    "skipped": ("step",),
    "samples": ("step",),
    "rewind_to": ("step",),
    "start": ("step",),
    "stop": ("step",),
    "end": ("step",),
}


@dataclass
class Events:
    starts: list = field(default_factory=list)
    steps: list = field(default_factory=list)  # event "step", by step
    validations: list = field(default_factory=list)
    skipped: list = field(default_factory=list)
    ended: bool = False

    def rewind(self, step):
        """Forgets what earlier attempts said of later steps."""
        for name in ("steps", "validations", "skipped"):
            setattr(self, name, [event for event in getattr(self, name) if event["step"] <= step])
        self.ended = False

    def last_step(self):
        return max((event["step"] for event in self.steps + self.validations), default=0)


def read_events(file: Path) -> Events:
    """A line cut short is no error where a writer was killed: at the end, or before the next attempt's first line."""
    try:
        lines = file.read_bytes().split(b"\n")
    except OSError as error:
        raise BadInput(f"{file}: cannot be read: {error.strerror}. A run's folder has it from the first start on.") from None
    if lines and lines[-1] == b"":
        lines.pop()
    events, torn, attempt = Events(), None, 0
    for number, line in enumerate(lines, 1):
        event = _parsed(line)
        if event is None:
            if torn is not None:
                raise _damage(file, *torn)
            torn = (number, line)
            continue
        _check(file, number, event)
        if torn is not None and event["attempt"] <= attempt:
            raise _damage(file, *torn)
        torn, attempt = None, event["attempt"]
        _take(events, event)
    if torn is not None and (torn[1].rstrip().endswith(b"}") or not b'{"time"'.startswith(torn[1][:7])):
        raise _damage(file, *torn)
    return events


def _parsed(line):
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None


def _damage(file, number, line):
    shown = line[:60].decode("utf-8", "backslashreplace")
    return BadInput(f"{file}:{number}: not a JSON object: {shown!r}. The line is damaged: delete it to report without it.")


def _check(file, number, event):
    """Numbers that are not finite are strings in the file, and become floats."""
    if not isinstance(event.get("attempt"), int) or not isinstance(event.get("event"), str):
        raise BadInput(f"{file}:{number}: a line has an integer 'attempt' and a text 'event', this one has not: is it of cfm_train?")
    for name in NUMBERS_BY_EVENT.get(event["event"], ()):
        event[name] = _number(file, number, event, name, event.get(name))
    if event["event"] == "validation":
        bins = event.get("loss_by_t")
        if not isinstance(bins, list) or not isinstance(event.get("weights"), str):
            raise BadInput(f"{file}:{number}: 'validation' needs a list 'loss_by_t' and a text 'weights'.")
        event["loss_by_t"] = [_number(file, number, event, "loss_by_t", value) for value in bins]


def _number(file, number, event, name, value):
    if isinstance(value, str) and value in ("nan", "inf", "-inf") and name != "step":
        return float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise BadInput(f"{file}:{number}: '{event['event']}' needs a number '{name}', found {value!r}.")
    return value


def _take(events, event):
    kind = event["event"]
    if kind == "start":
        events.starts.append(event)
    if kind in ("start", "rewind_to"):  # a start without a checkpoint begins again at 0, and writes no rewind_to
        events.rewind(event["step"])
    elif kind == "step":
        events.steps.append(event)
    elif kind == "validation":
        events.validations.append(event)
    elif kind == "skipped":
        events.skipped.append(event)
    elif kind == "end":
        events.ended = True
