"""Means and deviations over seeds, and the runs behind them."""

import statistics

from reporting.table import Table

COLUMNS = (("NLL (bits/dim)", "bits_per_dim", 3), ("FID-digits", "fid", 3), ("NFE", "nfe", 1))


def measured(run) -> dict | None:
    """What the table has of a run; None: not all is there yet."""
    if not run.is_trained():
        return None
    likelihood, distance = run.likelihood(), run.distance()
    if likelihood is None or distance is None:
        return None
    chosen = run.chosen()
    return {"step": chosen.step, "loss": chosen.loss, "weights": chosen.weights, "bits_per_dim": likelihood.bits_per_dim,
            "standard_error": likelihood.standard_error, "likelihood_nfe": likelihood.nfe, "images": likelihood.images,
            "fid": distance.values["fid"][1], "nfe": distance.nfe, "samples": distance.samples, "seconds_trained": run.seconds_trained(),
            "revision": run.revision()}


def mean_and_deviation(values):
    """The sample's standard deviation (n - 1); None of one value."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


def in_words(values, digits) -> str:
    mean, deviation = mean_and_deviation(values)
    return f"{mean:.{digits}f}" + ("" if deviation is None else f" ± {deviation:.{digits}f}")


def tables_of(methods, runs):
    """The table as people read it, the same in full numbers, and the single runs; of the runs that are measured."""
    found = [(run, numbers) for run in runs if (numbers := measured(run)) is not None]
    words, full = [], []
    for method in methods:
        of_method = [numbers for run, numbers in found if run.method == method]
        if of_method:
            words.append([method.name, *[in_words([each[key] for each in of_method], digits) for _, key, digits in COLUMNS], len(of_method)])
            full.append([method.key, *[number for _, key, _ in COLUMNS for number in mean_and_deviation([each[key] for each in of_method])], len(of_method)])
    title = "Means and standard deviations over seeds"
    header = ["method", *[label for label, _, _ in COLUMNS], "seeds"]
    full_header = ["method", *[name for label, _, _ in COLUMNS for name in (label, f"{label} sd")], "seeds"]
    keys = ("step", "loss", "weights", "bits_per_dim", "standard_error", "images", "likelihood_nfe", "fid", "samples", "nfe", "seconds_trained", "revision")
    run_header = ["method", "seed", "step", "validation loss", "weights", "NLL (bits/dim)", "standard error", "test images", "NFE of NLL", "FID-digits",
                  "samples", "NFE", "seconds of training", "revision"]
    rows = [[run.method.key, run.seed, *[numbers[key] for key in keys]] for run, numbers in found]
    return Table("table", title, header, words), Table("table", title, full_header, full), Table("runs", "The runs", run_header, rows)
