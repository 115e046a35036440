"""Tables, charts and pictures of the runs, as sections of the page."""

import math
from html import escape
from statistics import mean

from reporting.chart import Chart, Series
from reporting.pictures import image
from reporting.sections import Section
from reporting.table import Table
from reporting.trajectories import measured

from . import pictures
from .board import ENTROPY, mass_by_density, share_off

BIT = math.log(2)  # nats
PATH_PIXELS = 200


def sections_of(runs, figures) -> list:
    """runs: all of them; figures: name to PNG."""
    return [
        Section("Exact likelihood", [likelihood(runs), by_seed(runs), NOTE]),
        Section("Samples over t", [_picture(figures, "times", f"Rows: methods; columns: t, from noise to data, {_fine(runs)} evaluations")]),
        Section("Samples by few evaluations", [_picture(figures, "few", "Rows: methods; columns: evaluations of the network, midpoint rule"),
                                               few_table(runs), few_chart(runs)]),
        Section("Samples over training", [_picture(figures, "training", "Rows: methods; columns: steps of training"), training_chart(runs)]),
        Section("Trajectories", [_picture(figures, "trajectories", "Lines from noise to sample, which is a dark spot"), straightness(runs)]),
        Section("Settings", [settings(runs)]),
    ]


NOTE = ('<p class="note">NLL: minus the mean log density of held-out points, exact divergence, dopri5; no flow can have less than the '
        "checkerboard's entropy on average. Spread: half the range over seeds; standard error: of one seed's mean over its points. On the squares: the flow's mass "
        "where the checkerboard is, once from its density at held-out points, once counted among its samples.</p>")


def figures_of(runs) -> dict:
    """Name to PNG, of the first seed's runs."""
    shown = [run for run in runs if run.seed == 0 and "x" in run.arrays]
    if not shown:
        return {}
    names = [run.method for run in shown]
    column_words = {"times": [f"t={t:.2f}" for t in shown[0].arrays["t"].values], "few": [f"NFE {n}" for n in shown[0].arrays["nfe"].values],
                    "training": [f"step {n}" for n in shown[0].arrays["step"].values]}
    sheets = {}
    for name, array in (("times", "x"), ("few", "few"), ("training", "training")):
        panels = [[pictures.enlarged(pictures.density_panel(run.points(array, i)), 2) for i in range(run.arrays[array].shape[1])] for run in shown]
        sheets[name] = pictures.sheet(panels, names, column_words[name])
    paths = [pictures.path_panel(_paths(run), PATH_PIXELS) for run in shown]
    sheets["trajectories"] = pictures.sheet([paths], [""], names)
    return sheets


def _paths(run) -> list:
    places = run.arrays["trajectory"].shape[1]
    return list(zip(*(run.points("trajectory", place) for place in range(places))))


def _fine(runs) -> int:
    return 2 * (len(runs[0].arrays["trajectory_t"].values) - 1) if "trajectory_t" in runs[0].arrays else 0


def _picture(figures, name, words) -> str:
    if name not in figures:
        return '<p class="missing">No samples were drawn: give --count.</p>'
    return f'<figure class="film"><figcaption>{escape(words)}</figcaption>{image(figures[name], words)}</figure>'


def by_method(runs) -> dict:
    grouped = {}
    for run in runs:
        grouped.setdefault(run.method, []).append(run)
    return grouped


def off_at_the_end(run) -> float | None:
    return share_off(run.points("x", len(run.arrays["t"].values) - 1)) if "x" in run.arrays else None


def _mean(values):
    return mean(values) if None not in values else None


def likelihood(runs) -> Table:
    header = ["method", "seeds", "NLL, nats", "spread", "standard error", "NLL, bits", "above the entropy, nats", "evaluations", "on the squares by density",
              "on the squares by samples", "training, s"]
    rows = []
    for method, group in by_method(runs).items():
        nll = [run.result["nll_nats"] for run in group]
        off = _mean([off_at_the_end(run) for run in group])
        rows.append([method, len(group), mean(nll), (max(nll) - min(nll)) / 2, mean([run.result["nll_standard_error"] for run in group]),
                     mean(nll) / BIT, mean(nll) - ENTROPY, mean([run.result["nll_nfe"] for run in group]),
                     mean([mass_by_density(run.arrays["log_p"].values) for run in group]), None if off is None else 1 - off,
                     mean([run.result["seconds"]["training"] for run in group])])
    rows.append(["checkerboard itself", None, ENTROPY, None, None, ENTROPY / BIT, 0.0, None, 1.0, 1.0, None])
    return Table("likelihood", "Exact negative log-likelihood of held-out points", header, rows)


def by_seed(runs) -> Table:
    rows = [[run.method, run.seed, run.result["nll_nats"], run.result["nll_standard_error"], run.result["nll_nfe"],
             mass_by_density(run.arrays["log_p"].values), *(None if off is None else 1 - off for off in [off_at_the_end(run)])] for run in runs]
    return Table("seeds", "The same by seed", ["method", "seed", "NLL, nats", "standard error", "evaluations", "on the squares by density",
                                               "on the squares by samples"], rows)


def _off_by(group, array, place):
    return _mean([share_off(run.points(array, place)) if array in run.arrays else None for run in group])


def few_table(runs) -> Table:
    budgets = list(runs[0].arrays["nfe"].values) if "nfe" in runs[0].arrays else []
    rows = [[method, *(_off_by(group, "few", i) for i in range(len(budgets))), _mean([off_at_the_end(run) for run in group])]
            for method, group in by_method(runs).items()]
    return Table("few_evaluations", "Share of samples off the squares, by evaluations (mean of seeds)", ["method", *map(str, budgets), str(_fine(runs))], rows)


def few_chart(runs) -> Chart:
    return _chart("Share off the squares by evaluations", "evaluations", runs, "nfe", "few", log_x=True)


def training_chart(runs) -> Chart:
    return _chart("Share off the squares over training", "step", runs, "step", "training", note="Midpoint rule, 40 evaluations; mean of seeds.")


def _chart(title, x_label, runs, places, array, **more) -> Chart:
    series = []
    for colour, (method, group) in enumerate(by_method(runs).items()):
        if array in group[0].arrays:
            points = [(x, _off_by(group, array, i)) for i, x in enumerate(group[0].arrays[places].values)]
            series.append(Series(method, points, colour))
    return Chart(title, x_label, "share off the squares", series, **more)


def straightness(runs) -> Table:
    rows = []
    for method, group in by_method(runs).items():
        paths = [measured(list(run.arrays["trajectory_t"].values), states) for run in group if "trajectory" in run.arrays for states in _paths(run)]
        if paths:
            rows.append([method, len(paths), mean([path.straightness for path in paths]), mean([path.detour for path in paths])])
    return Table("straightness", "How straight the trajectories are: 0 is straight, S at constant speed too", ["method", "trajectories", "S", "detour"], rows)


def settings(runs) -> Table:
    names = ["steps", "global_batch", "lr", "width", "layers", "time_frequencies", "parameters", "nll_count", "tolerance", "net_batch", "threads"]
    return Table("settings", "What all methods share", ["setting", "value"], [[name, str(runs[0].result[name])] for name in names])
