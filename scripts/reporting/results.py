"""RUN/results/<metric>-step_<n>-<tag>.json (docs/formats.md, Results): likelihoods, FIDs, and FID against NFE."""

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from .bad_input import BadInput

MEASURES = ("fid", "sfid", "is_10_splits", "is_splits_of_5000", "kid", "precision", "recall")
NAME = re.compile(r"(?P<metric>[a-z_]+)-step_(?P<step>\d+)-(?P<tag>.+)\.json")


@dataclass
class Nll:
    step: int
    tag: str
    bits_per_dim: float
    standard_error: float | None
    images: int
    repeats: int
    nfe: float | None
    protocol: str  # what may not differ between points of one line


@dataclass
class Fid:
    step: int
    tag: str
    values: dict  # "fid", "sfid", ...: (min, mean, max)
    samples: int | None
    nfe: float | None
    protocol: str
    rank_deficient: bool


@dataclass
class SweepPoint:
    solver: str
    nfe: float
    fid: float | None
    rms_error: float | None


@dataclass
class Sweep:
    step: int
    tag: str
    points: list


@dataclass
class Results:
    nll: list = field(default_factory=list)
    fid: list = field(default_factory=list)
    sweeps: list = field(default_factory=list)


def read_results(folder: Path) -> Results:
    results = Results()
    for file in sorted(folder.glob("*.json")):
        name = NAME.fullmatch(file.name)
        if not name or name["metric"] not in ("nll", "fid", "fid_sweep"):
            continue
        document = read_object(file)
        reader, into = {"nll": (_nll, results.nll), "fid": (_fid, results.fid), "fid_sweep": (_sweep, results.sweeps)}[name["metric"]]
        try:
            into.append(reader(int(name["step"]), name["tag"], document))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadInput(f"{file}: not a result of '{name['metric']}' as docs/formats.md has it: {error!r}. Move it away.") from None
    for each in (results.nll, results.fid, results.sweeps):
        each.sort(key=lambda result: (result.step, result.tag))
    return results


def read_object(file: Path) -> dict:
    try:
        document = json.loads(file.read_text("utf-8"))
    except OSError as error:
        raise BadInput(f"{file}: cannot be read: {error.strerror}.") from None
    except json.JSONDecodeError as error:
        raise BadInput(f"{file}:{error.lineno}: not JSON: {error.msg}. Make it again, or move it away.") from None
    except ValueError as error:
        raise BadInput(f"{file}: not JSON: {error}. Make it again, or move it away.") from None
    if not isinstance(document, dict):
        raise BadInput(f"{file}:1: expected a JSON object, found {type(document).__name__}. Move it away.")
    return document


def _numeric(value):
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"expected a number, found {value!r}")
    return value


def _numeric_or_none(value):
    return None if value is None else _numeric(value)


def solver_text(solver: dict) -> str:
    """"dp5, 4 steps, uniform" or "dopri5 1e-05": of `settings`, or of the `solver` within it."""
    name = solver.get("solver", solver.get("name", ""))
    if isinstance(name, dict):
        return solver_text(name)
    if "steps" in solver:
        return f"{name}, {solver['steps']} steps, {solver.get('grid', 'uniform')}"
    return " ".join(str(part) for part in (name, solver.get("atol")) if part not in (None, ""))


def _protocol(document, settings, parts) -> str:
    """In words, and a hash of every setting that decides the number but the weights (and last bits: net_batch)."""
    weights = document.get("weights", {})
    name = str(weights.get("name", "")) if isinstance(weights, dict) else str(weights)
    digest = hashlib.sha256(json.dumps(_without(settings), sort_keys=True).encode()).hexdigest()[:4]
    return ", ".join([part for part in (*parts, name) if part] + [f"settings {digest}"])


def _without(settings):
    if not isinstance(settings, dict):
        return settings
    return {key: _without(value) for key, value in settings.items() if not key.startswith("weights_xxh3") and key != "net_batch"}


def _nll(step, tag, document):
    settings = document.get("settings", {})
    parts = [solver_text(settings), f"K = {document['repeats']}", f"{document['images']} images"]
    nfe = document.get("nfe") or {}
    return Nll(step, tag, _numeric(document["bits_per_dim"]), _numeric_or_none(document.get("standard_error")),
               _numeric(document["images"]), _numeric(document["repeats"]), _numeric_or_none(nfe.get("mean")), _protocol(document, settings, parts))


def _spread(name, value):
    """(min, mean, max) of {"min", "mean", "max"}, or of the number of a known measure; None: it is something else."""
    if isinstance(value, dict) and "mean" in value:
        mean = _numeric(value["mean"])
        return _numeric(value.get("min", mean)), mean, _numeric(value.get("max", mean))
    return (_numeric(value),) * 3 if name in MEASURES and value is not None else None


def _fid(step, tag, document):
    found = document.get("results", document)
    settings = document.get("settings", document.get("decides", {}))
    solver = settings.get("solver", {})
    values = {name: spread for name, value in found.items() if name != "nfe" and (spread := _spread(name, value))}
    if "fid" not in values:
        raise KeyError("fid")
    features = settings.get("features", {})
    samples = found.get("samples")
    parts = [solver_text(solver), f"{samples} samples" if isinstance(samples, int) else "", str(features.get("name", ""))]
    return Fid(step, tag, values, samples if isinstance(samples, int) else None, _evaluations(found, solver), _protocol(document, settings, parts),
               bool(found.get("rank_deficient")))


def _evaluations(found, solver):
    """NFE a sample: of the grid, or the mean over the repeats."""
    of_repeats = [repeat["nfe"] for repeat in found.get("repeats", []) if isinstance(repeat, dict) and repeat.get("nfe") is not None]
    if of_repeats:
        return sum(map(_numeric, of_repeats)) / len(of_repeats)
    return _numeric_or_none(solver.get("nfe"))


def _sweep(step, tag, document):
    curve = document.get("results", document)["curve"]
    points = [SweepPoint(str(point["solver"]), _numeric(point["nfe"]), _numeric_or_none(point.get("fid")), _numeric_or_none(point.get("rms_error")))
              for point in curve]
    return Sweep(step, tag, points)
