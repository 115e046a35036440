"""What the page shows of runs, from top to bottom: each section is a title and a list of charts, tables and pieces of HTML."""

from dataclasses import dataclass, field
from html import escape
from shlex import quote

from .chart import Chart, Series, thinned
from .pictures import film, grids
from .run import differing_flags
from .table import Table


@dataclass
class Section:
    title: str
    parts: list = field(default_factory=list)  # Chart, Table or HTML


def missing(what: str, command: str) -> str:
    return f'<p class="missing">{escape(what)} <code>{escape(command)}</code></p>'


def sections_of(runs) -> list:
    return [overview(runs), flags(runs), losses(runs), samples(runs), likelihoods(runs), distances(runs), sweeps(runs), paths(runs)]


def overview(runs) -> Section:
    header = ["run", "step", "of", "state", "path", "objective", "parameters", "batch", "ranks", "loss",
              "held-out", "weights", "bits/dim", "FID", "images/s", "source"]
    rows = []
    for run in runs:
        start = run.events.starts[-1] if run.events.starts else {}
        steps = run.events.steps
        last = steps[-len(steps) // 10 or -1 :] if steps else []
        seconds = sum(event["step_seconds"] for event in last) / len(last) if last else 0
        batch = start.get("global_batch")
        rows.append([run.name, run.events.last_step(), start.get("steps"), "ended" if run.events.ended else "not ended",
                     run.flags.get("path"), run.flags.get("objective"), start.get("parameters"), batch, start.get("ranks"),
                     steps[-1]["loss"] if steps else None, *_held_out(run),
                     run.results.nll[-1].bits_per_dim if run.results.nll else None, run.results.fid[-1].values["fid"][1] if run.results.fid else None,
                     batch / seconds if isinstance(batch, int) and seconds > 0 else None, run.revision[:12]])
    parts = [Table("overview", "Runs as they stand: newest of each number, speed over the last tenth of the logged steps", header, rows)]
    for run in runs:
        if run.events.skipped:
            parts.append(f'<p class="note">{escape(run.name)}: {len(run.events.skipped)} updates were skipped (their gradient was not finite), '
                         f"the last at step {run.events.skipped[-1]['step']}.</p>")
    return Section("Overview", parts)


def _held_out(run):
    """The newest held-out loss and its weights: those of an average if there are any."""
    newest = sorted(run.events.validations, key=lambda event: (event["step"], event["weights"] != "raw"))
    return (newest[-1]["loss"], newest[-1]["weights"]) if newest else (None, None)


def flags(runs) -> Section:
    section = Section("Differing flags")
    without = [run.name for run in runs if not run.flags]
    if without:
        section.parts.append(missing("No checkpoint, so no flags, of " + ", ".join(without) + ". They are kept with each:", "cfm_train --checkpoint_every=…"))
    rows = [[name, *["(none)" if value is None else value or "(empty)" for value in values]] for name, values in differing_flags(runs)]
    if rows:
        section.parts.append(Table("flags", "Flags that are not the same in all runs (run_dir left out)", ["flag", *[run.name for run in runs]], rows))
    elif len(runs) == 1:
        section.parts.append('<p class="note">One run alone: name several to see in which flags they differ.</p>')
    elif len(without) < len(runs):
        section.parts.append('<p class="note">None: all flags are the same but run_dir.</p>')
    return section


def losses(runs) -> Section:
    section = Section("Losses")
    train, each = [], 1
    for i, run in enumerate(runs):
        points, of = thinned([(event["step"], event["loss"]) for event in run.events.steps])
        each = max(each, of)
        if points:
            train.append(Series(run.name, points, i))
    different = len({(run.flags.get("path"), run.flags.get("objective")) for run in runs}) > 1
    note = "Losses of different paths or objectives are different quantities: compare their shapes, not their heights." if different else ""
    if train:
        thin = f"A point is the mean of up to {each} logged steps. " if each > 1 else ""
        section.parts.append(Chart("Training loss", "step", "loss", train, log_y=True, note=thin + note))
    else:
        section.parts.append(missing("No steps are logged yet.", "cfm_train --log_every=10 …"))
    held_out, by_t, rows = [], [], []
    for i, run in enumerate(runs):
        for dash, weights in enumerate(sorted({event["weights"] for event in run.events.validations}, key=lambda name: (name == "raw", name))):
            of_weights = [event for event in run.events.validations if event["weights"] == weights]
            label = f"{run.name}, {weights}"
            held_out.append(Series(label, [(event["step"], event["loss"]) for event in of_weights], i, dash))
            bins = of_weights[-1]["loss_by_t"]
            by_t.append(Series(f"{label}, step {of_weights[-1]['step']}", [((k + 0.5) / len(bins), value) for k, value in enumerate(bins)], i, dash))
            rows += [[run.name, weights, event["step"], event.get("images"), event["loss"], *event["loss_by_t"]] for event in of_weights]
    if not held_out:
        section.parts.append(missing("No held-out losses yet.", "cfm_train --val_data=… --val_every=…"))
        return section
    section.parts.append(Chart("Held-out loss", "step", "held-out loss", held_out, log_y=True, note=note))
    section.parts.append(Chart("Held-out loss by time, newest", "t / t_end (0 noise, 1 data)", "mean loss of the bin", by_t, log_y=True))
    most = max(len(row) for row in rows)
    header = ["run", "weights", "step", "images", "loss", *[f"t bin {k}" for k in range(most - 5)]]
    section.parts.append(Table("held_out", "Held-out losses: the mean, and by tenths of t/t_end", header, [row + [None] * (most - len(row)) for row in rows]))
    return section


def samples(runs) -> Section:
    section = Section("Samples over training", [grids(run) for run in runs if run.grids])
    for run in runs:
        if not run.grids:
            section.parts.append(missing(f"No sample grids of {run.name}.", "cfm_train --sample_every=…"))
    return section


def _by_protocol(runs, results):
    """(run's number, protocol, its results by step) for each line of a chart."""
    for i, run in enumerate(runs):
        for protocol in sorted({result.protocol for result in results(run)}):
            yield i, protocol, [result for result in results(run) if result.protocol == protocol]


def _dashes(lines):
    protocols = sorted({protocol for _, protocol, _ in lines})
    return {protocol: i for i, protocol in enumerate(protocols)}, len(protocols) > 1


def likelihoods(runs) -> Section:
    section = Section("Likelihood")
    lines = list(_by_protocol(runs, lambda run: run.results.nll))
    dashes, several = _dashes(lines)
    series, rows = [], []
    for i, protocol, results in lines:
        spread = [(r.bits_per_dim - (r.standard_error or 0), r.bits_per_dim + (r.standard_error or 0)) for r in results]
        label = f"{runs[i].name}: {protocol}" if several else runs[i].name
        series.append(Series(label, [(r.step, r.bits_per_dim) for r in results], i, dashes[protocol], spread))
        rows += [[runs[i].name, r.step, r.bits_per_dim, r.standard_error, r.nfe, protocol, r.tag] for r in results]
    if series:
        note = "Whiskers: one standard error." + (" Lines of different protocols are not comparable." if several else f" All: {lines[0][1]}.")
        section.parts.append(Chart("Negative log-likelihood", "step", "bits/dim", series, note=note))
        section.parts.append(Table("nll", "Negative log-likelihood", ["run", "step", "bits/dim", "standard error", "NFE (mean)", "protocol", "tag"], rows))
    for run in runs:
        if not run.results.nll:
            section.parts.append(missing(f"No likelihood of {run.name}.", f"cfm_eval_nll --run_dir={quote(str(run.folder))} --data=…"))
    return section


def distances(runs) -> Section:
    section = Section("FID")
    lines = list(_by_protocol(runs, lambda run: run.results.fid))
    dashes, several = _dashes(lines)
    series, rows = [], []
    measures = sorted({name for run in runs for result in run.results.fid for name in result.values} - {"fid"})
    for i, protocol, results in lines:
        label = f"{runs[i].name}: {protocol}" if several else runs[i].name
        spread = [(r.values["fid"][0], r.values["fid"][2]) for r in results]
        series.append(Series(label, [(r.step, r.values["fid"][1]) for r in results], i, dashes[protocol], spread))
        rows += [[runs[i].name, r.step, r.values["fid"][1], r.values["fid"][0], r.values["fid"][2], *[r.values[name][1] if name in r.values else None for name in measures],
                  r.nfe, protocol, "yes" if r.rank_deficient else "no", r.tag] for r in results]
    if series:
        note = "Whiskers: least and most of the repeats." + (" Lines of different protocols are not comparable." if several else f" All: {lines[0][1]}.")
        section.parts.append(Chart("FID", "step", "FID", series, log_y=True, note=note))
        header = ["run", "step", "FID", "least", "most", *measures, "NFE", "protocol", "rank-deficient", "tag"]
        section.parts.append(Table("fid", "FID and its relatives: means over repeats", header, rows))
    for run in runs:
        if not run.results.fid:
            section.parts.append(missing(f"No FID of {run.name}.", f"cfm_eval_fid --run_dir={quote(str(run.folder))} --reference=… --features=…"))
    return section


def sweeps(runs) -> Section:
    """One panel a run and measure, one line a solver, as the paper's Fig. 7."""
    section, rows = Section("FID and error against NFE"), []
    solvers = sorted({point.solver for run in runs for sweep in run.results.sweeps for point in sweep.points})
    for run in runs:
        for sweep in run.results.sweeps[-1:]:
            for name, label in (("fid", "FID"), ("rms_error", "rms error of the solution")):
                series = []
                for k, solver in enumerate(solvers):
                    points = sorted((p.nfe, getattr(p, name)) for p in sweep.points if p.solver == solver and getattr(p, name) is not None)
                    if points:
                        series.append(Series(solver, points, k, k // 8))
                if series:
                    section.parts.append(Chart(f"{run.name}, step {sweep.step}: {label} against NFE", "NFE", label, series, log_x=True, log_y=True))
        rows += [[run.name, sweep.step, p.solver, p.nfe, p.fid, p.rms_error, sweep.tag] for sweep in run.results.sweeps for p in sweep.points]
        if not run.results.sweeps:
            section.parts.append(missing(f"No sweep over solvers of {run.name}.", f"cfm_eval_fid --sweep --run_dir={quote(str(run.folder))} --reference=… --features=…"))
    if rows:
        section.parts.append(Table("nfe", "FID and error by solver and NFE", ["run", "step", "solver", "NFE", "FID", "rms error", "tag"], rows))
    return section


def paths(runs) -> Section:
    section, rows, beside = Section("Trajectories"), [], []
    for i, run in enumerate(runs):
        if not run.trajectories:
            file = run.folder / f"trajectories-step_{run.checkpoint_step:09d}.npz"
            command = f"cfm_sample --run_dir={quote(str(run.folder))} --count=8 --trajectories={quote(str(file))}"
            section.parts.append(missing(f"No trajectories of {run.name}.", command))
            continue
        newest = run.trajectories[-1]
        section.parts.append(film(run.name, newest))
        for k, path in enumerate(newest.paths[:8]):
            beside.append(Series(f"{run.name}, sample {k}" if k else run.name, path.points, i, listed=k == 0))
        rows += [[run.name, one.step if one.step >= 0 else None, len(one.samples), len(one.times), one.mean("straightness"), one.mean("detour")] for one in run.trajectories]
    if beside:
        note = ("Where samples stand between their noise (left) and their image (right), and how far beside the straight line between the two; "
                "a straight path lies on 0.")
        section.parts.append(Chart("Trajectories beside their chords", "share of the chord covered", "distance / chord", beside, note=note))
        by_step = [Series(run.name, [(one.step, one.mean("straightness")) for one in run.trajectories if one.step >= 0], i) for i, run in enumerate(runs)]
        if any(len(series.points) > 1 for series in by_step):
            section.parts.append(Chart("Straightness", "step", "S", [series for series in by_step if series.points]))
        title = "Straightness S = τ ∫|v|² dt / |x(τ) − x(0)|² − 1 (0: straight at constant speed) and length/chord − 1 (0: straight), from the recorded times, means over samples"
        section.parts.append(Table("straightness", title, ["run", "step", "samples", "times", "S", "length/chord - 1"], rows))
    return section
