"""RUN/results/<metric>-step_<n>-<tag>.json (docs/formats.md, Results): likelihoods, FIDs, and FID against NFE."""

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from .bad_input import BadInput

LAST_BITS = {"net_batch", "threads"}  # settings that change a number's last digits at most
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
    step: int  # means nothing where there is a source
    tag: str
    values: dict  # "fid", "sfid", ...: (min, mean, max)
    samples: int | None
    nfe: float | None
    protocol: str
    rank_deficient: bool
    source: str  # of images that no network here has drawn (cfm_eval_fid --samples); empty: they are a checkpoint's


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
    protocol: str  # but not which points there are
    exact: str  # the solution that errors are measured from
    rank_deficient: bool


@dataclass
class Results:
    nll: list = field(default_factory=list)
    fid: list = field(default_factory=list)
    given: list = field(default_factory=list)  # Fid of other people's images
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
            result = reader(int(name["step"]), name["tag"], document)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadInput(f"{file}: not a result of '{name['metric']}' as docs/formats.md has it: {error!r}. Move it away.") from None
        (results.given if isinstance(result, Fid) and result.source else into).append(result)
    for each in (results.nll, results.fid, results.given, results.sweeps):
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
    """"dp5, 4 steps, uniform", "dopri5 1e-05" or "dopri5 atol 1e-05, rtol 0.001": of `settings`, or of the `solver` within it."""
    name = solver.get("solver", solver.get("name", ""))
    if isinstance(name, dict):
        return solver_text(name)
    if "steps" in solver:
        return f"{name}, {solver['steps']} steps, {solver.get('grid', 'uniform')}"
    atol, rtol = solver.get("atol"), solver.get("rtol")
    tolerance = atol if rtol in (None, atol) else f"atol {atol}, rtol {rtol}"
    words = " ".join(str(part) for part in (name, tolerance) if part not in (None, ""))
    return f"{words}, one step size a batch" if solver.get("step_control") == "batch" else words


def _protocol(document, settings, parts, left_out=frozenset()) -> str:
    """In words, and a hash of all that decides the number but whose weights or images it is of."""
    weights = document.get("weights", {})
    name = str(weights.get("name", "")) if isinstance(weights, dict) else str(weights)
    words = [part for part in (*parts, name) if part]
    solver = settings.get("solver")
    control = (solver if isinstance(solver, dict) else settings).get("step_control")
    # A step size that a batch shares follows from what the batch holds.
    left_out = left_out | (LAST_BITS - {"net_batch"} if control == "batch" else LAST_BITS)
    deciding = _without(settings, left_out)
    if isinstance(samples := settings.get("samples"), dict):
        deciding["samples"] = {key: samples.get(key) for key in ("count", "repeats")}
    digest = hashlib.sha256(json.dumps([deciding, words], sort_keys=True).encode()).hexdigest()[:4]
    return ", ".join([*words, f"settings {digest}"])


def _without(settings, left_out):
    if not isinstance(settings, dict):
        return settings
    return {key: _without(value, left_out) for key, value in settings.items() if not key.startswith("weights_xxh3") and key not in left_out}


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
    samples = found.get("samples")
    images = document.get("images")
    source = str(images.get("from", "images")).removeprefix("--samples ") if isinstance(images, dict) else ""
    return Fid(step, tag, values, samples if isinstance(samples, int) else None, _evaluations(found, solver),
               _protocol(document, settings, [solver_text(solver), *_sampling_words(samples, settings)]), bool(found.get("rank_deficient")), source)


def _sampling_words(samples, settings):
    return [f"{samples} samples" if isinstance(samples, int) else "", str(settings.get("features", {}).get("name", ""))]


def _evaluations(found, solver):
    """NFE a sample: of the grid, or the mean over the repeats."""
    of_repeats = [repeat["nfe"] for repeat in found.get("repeats", []) if isinstance(repeat, dict) and repeat.get("nfe") is not None]
    if of_repeats:
        return sum(map(_numeric, of_repeats)) / len(of_repeats)
    return _numeric_or_none(solver.get("nfe"))


def _sweep(step, tag, document):
    found = document.get("results", document)
    settings = document.get("settings", {})
    points = [SweepPoint(str(point["solver"]), _numeric(point["nfe"]), _numeric_or_none(point.get("fid")), _numeric_or_none(point.get("rms_error")))
              for point in found["curve"]]
    grid = settings.get("solver", {}).get("grid")
    parts = [f"{grid} grids" if grid else "", *_sampling_words(found.get("samples"), settings)]
    exact = found.get("exact") or {}
    said = f"{exact['solver']} with {exact['steps']} steps" if exact else ""
    return Sweep(step, tag, points, _protocol(document, settings, parts, {"nfe", "tolerances"}), said, bool(found.get("rank_deficient")))
