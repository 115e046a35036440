"""What the page shows of runs, from top to bottom: each section is a title and a list of charts, tables and pieces of HTML."""

from dataclasses import dataclass, field
from html import escape
from shlex import quote

from .chart import Chart, Series, thinned
from .pictures import film, grids
from .run import differing_flags
from .table import Table

SHOWN_PROTOCOLS = 3  # of a measure in the overview


@dataclass
class Section:
    title: str
    parts: list = field(default_factory=list)  # Chart, Table or HTML


def missing(what: str, command: str) -> str:
    return f'<p class="missing">{escape(what)} <code>{escape(command)}</code></p>'


def sections_of(runs) -> list:
    return [overview(runs), flags(runs), losses(runs), samples(runs), likelihoods(runs), distances(runs), sweeps(runs), paths(runs)]


def overview(runs) -> Section:
    header = ["run", "step", "of", "state", "path", "objective", "parameters", "batch", "ranks", "loss", "held-out", "weights"]
    rows = []
    for run in runs:
        start = run.events.starts[-1] if run.events.starts else {}
        steps = run.events.steps
        rows.append([run.name, run.events.last_step(), start.get("steps"), "ended" if run.events.ended else "not ended",
                     run.flags.get("path"), run.flags.get("objective"), start.get("parameters"), start.get("global_batch"), start.get("ranks"),
                     steps[-1]["loss"] if steps else None, *_held_out(run)])
    notes = []
    for label, results, value in (("bits/dim", lambda run: run.results.nll, lambda result: result.bits_per_dim),
                                  ("FID", lambda run: run.results.fid, lambda result: result.values["fid"][1])):
        names, columns, note = _columns(label, _newest(runs, results))
        header += names
        for i, row in enumerate(rows):
            row += [value(column[i]) if i in column else None for column in columns]
        notes += [f'<p class="note">{escape(note)}</p>'] if note else []
    header += ["images/s", "source"]
    for run, row in zip(runs, rows):
        row += [_speed(run), run.revision[:12]]
    parts = [Table("overview", "Runs as they stand: newest of each number, speed over the last tenth of the logged steps", header, rows), *notes]
    for run in runs:
        if run.events.skipped:
            parts.append(f'<p class="note">{escape(run.name)}: {len(run.events.skipped)} updates were skipped (their gradient was not finite), '
                         f"the last at step {run.events.skipped[-1]['step']}.</p>")
    return Section("Overview", parts)


def _newest(runs, results):
    """(protocol, {a run's number: its newest result of it}), those that most runs have first, then the newest."""
    found = {}
    for i, run in enumerate(runs):
        for result in results(run):
            found.setdefault(result.protocol, {})[i] = result
    return sorted(found.items(), key=lambda item: (-len(item[1]), -max(result.step for result in item[1].values()), item[0]))


def _columns(label, protocols):
    """Names of columns, the columns, and a note: one a protocol, as numbers of two are not comparable."""
    if len(protocols) < 2:
        return [label], [column for _, column in protocols] or [{}], f"{label}: {protocols[0][0]}." if protocols else ""
    shown = protocols[:SHOWN_PROTOCOLS]
    note = f"{label} by protocol, as numbers of different ones are not comparable: " + "; ".join(protocol for protocol, _ in shown) + "."
    if len(protocols) > len(shown):
        note += f" Of {len(protocols) - len(shown)} more see the table below."
    return [f"{label}, {protocol.rpartition(', ')[2]}" for protocol, _ in shown], [column for _, column in shown], note


def _speed(run):
    steps = run.events.steps
    last = steps[-len(steps) // 10 or -1 :] if steps else []
    seconds = sum(event["step_seconds"] for event in last) / len(last) if last else 0
    batch = run.events.starts[-1].get("global_batch") if run.events.starts else None
    return batch / seconds if isinstance(batch, int) and seconds > 0 else None


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
    section.parts += _given(runs)
    for run in runs:
        if not run.results.fid:
            section.parts.append(missing(f"No FID of {run.name}.", f"cfm_eval_fid --run_dir={quote(str(run.folder))} --reference=… --features=…"))
    return section


def _given(runs) -> list:
    """Of images that no checkpoint has drawn: they have no step."""
    found = [(run, result) for run in runs for result in run.results.given]
    measures = sorted({name for _, result in found for name in result.values} - {"fid"})
    rows = [[run.name, result.source, result.samples, result.values["fid"][1], *[result.values[name][1] if name in result.values else None for name in measures],
             result.protocol, "yes" if result.rank_deficient else "no", result.tag] for run, result in found]
    header = ["results of", "images", "samples", "FID", *measures, "protocol", "rank-deficient", "tag"]
    return [Table("given", "FID of given images (cfm_eval_fid --samples), of no checkpoint", header, rows)] if rows else []


def sweeps(runs) -> Section:
    """A panel a run and measure and a colour a solver, as the paper's Fig. 7; of several sweeps of a run each has its dashes."""
    section, rows = Section("FID and error against NFE"), []
    solvers = sorted({point.solver for run in runs for sweep in run.results.sweeps for point in sweep.points})
    for run in runs:
        words = _sweep_words(run.results.sweeps)
        for name, label in (("fid", "FID"), ("rms_error", "rms error of the solution")):
            series = []
            for dash, sweep in enumerate(run.results.sweeps):
                for k, solver in enumerate(solvers):
                    points = sorted((p.nfe, getattr(p, name)) for p in sweep.points if p.solver == solver and getattr(p, name) is not None)
                    if points:
                        series.append(Series(f"{solver}, {words[dash]}" if len(words) > 1 else solver, points, k, dash))
            if series:
                of = f"{run.name}, {words[0]}" if len(words) == 1 else run.name
                section.parts.append(Chart(f"{of}: {label} against NFE", "NFE", label, series, log_x=True, log_y=True, note=_sweep_note(run.results.sweeps, words, name)))
        rows += [[run.name, sweep.step, p.solver, p.nfe, p.fid, p.rms_error, sweep.protocol, "yes" if sweep.rank_deficient else "no", sweep.tag] for sweep in run.results.sweeps for p in sweep.points]
        if not run.results.sweeps:
            section.parts.append(missing(f"No sweep over solvers of {run.name}.", f"cfm_eval_fid --sweep --run_dir={quote(str(run.folder))} --reference=… --features=…"))
    section.parts += _sweeps_overlaid(runs)
    if rows:
        section.parts.append(Table("nfe", "FID and error by solver and NFE", ["run", "step", "solver", "NFE", "FID", "rms error", "protocol", "rank-deficient", "tag"], rows))
    return section


def _sweeps_overlaid(runs) -> list:
    """The newest sweep of each run by one solver that all have, the midpoint rule if that is one: what a method costs, as on the left of Fig. 7."""
    swept = [(i, run, run.results.sweeps[-1]) for i, run in enumerate(runs) if run.results.sweeps]
    common = set.intersection(*({p.solver for p in sweep.points} for _, _, sweep in swept)) if len(swept) > 1 else set()
    if not common:
        return []
    solver, charts = "midpoint" if "midpoint" in common else min(common), []
    for name, label in (("fid", "FID"), ("rms_error", "rms error of the solution")):
        lines = [(i, run, sweep, sorted((p.nfe, getattr(p, name)) for p in sweep.points if p.solver == solver and getattr(p, name) is not None)) for i, run, sweep in swept]
        series = [Series(f"{run.name}, step {sweep.step}", points, i) for i, run, sweep, points in lines if points]
        if len(series) > 1:
            same = len({sweep.protocol for _, _, sweep, points in lines if points}) == 1
            note = "" if name == "rms_error" or same else "Of different protocols, see the table: not comparable."
            charts.append(Chart(f"All runs by {solver}: {label} against NFE", "NFE", label, series, log_x=True, log_y=True, note=note))
    return charts


def _sweep_words(found) -> list:
    """What tells a run's sweeps apart."""
    steps = [sweep.step for sweep in found]
    return [f"step {sweep.step}" + (f" ({sweep.tag})" if steps.count(sweep.step) > 1 else "") for sweep in found]


def _sweep_note(found, words, measure) -> str:
    if measure == "rms_error":
        exact = sorted({sweep.exact for sweep in found if sweep.exact})
        return f"From the same network's solution by {' or '.join(exact)}: how exact a solver is, not how good its images are." if exact else ""
    if len({sweep.protocol for sweep in found}) == 1:
        return f"All: {found[0].protocol}."
    return "Lines of different protocols are not comparable: " + "; ".join(f"{word}: {sweep.protocol}" for word, sweep in zip(words, found)) + "."


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
