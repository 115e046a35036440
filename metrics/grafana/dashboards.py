"""Writes the dashboards beside it, dashboards/*.json, with Grafana's Foundation SDK: python metrics/grafana/dashboards.py [FOLDER].

A panel is a line of text: title, unit, what it shows, and its queries. Units are Grafana's: "s" seconds, "percentunit" 0 to 1, "short" counts.
"""

import json
import pathlib
import sys

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, table, timeseries, trend
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import BigValueTextMode, LegendDisplayMode, LegendPlacement, ScaleDistribution, StackingMode, VisibilityMode
from grafana_foundation_sdk.models.dashboard import DataSourceRef, DataTransformerConfig, DynamicConfigValue, VariableRefresh
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = DataSourceRef(type_val="prometheus", uid="${source}")
RUN = 'run="$run"'
RUNS = 'run=~"$run"'
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"  # the queries of a panel


def query(expr, legend="", instant=False):
    built = prometheus.Dataquery().expr(expr).legend_format(legend).datasource(SOURCE)
    return built.instant().format(PromQueryFormat.TABLE) if instant else built.range()


def with_queries(panel, title, unit, description, queries):
    panel = panel.title(title).description(description).unit(unit).datasource(SOURCE)
    for i, one in enumerate(queries):
        panel = panel.with_target(one.ref_id(LETTERS[i]))
    return panel


def transformed(panel, *steps):
    for name, options in steps:
        panel = panel.with_transformation(DataTransformerConfig(id_val=name, options=options))
    return panel


def number(title, unit, description, expr):
    return with_queries(stat.Panel(), title, unit, description, [query(expr)]).height(4).span(3)


def word(title, description, expr, legend):
    """Shows what the series there is is called, not its value."""
    return with_queries(stat.Panel().text_mode(BigValueTextMode.NAME), title, "short", description, [query(expr, legend)]).height(4).span(3)


def curves(title, unit, description, *queries, log=False, stacked=False, span=12):
    panel = with_queries(timeseries.Panel(), title, unit, description, [query(expr, legend) for expr, legend in queries])
    panel = panel.height(8).span(span).show_points(VisibilityMode.NEVER).span_nulls(True)
    if log:
        panel = panel.scale_distribution(common.ScaleDistributionConfig().type(ScaleDistribution.LOG).log(10))
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL)).fill_opacity(30)
    return panel


def rows_of(title, description, *columns):
    """A table of one row a label set; a column is its name, unit and instant query, joined by their labels."""
    panel = with_queries(table.Panel(), title, "short", description, [query(expr, name, instant=True) for name, _, expr in columns])
    names = {f"Value #{LETTERS[i]}": column[0] for i, column in enumerate(columns)}
    hidden = {name: True for name in ("Time", "__name__", "job", "instance", "node", "slurm_job")}
    for name, unit, _ in columns:
        panel = panel.override_by_name(name, [DynamicConfigValue(id_val="unit", value=unit)])
    return transformed(panel.height(10).span(24), ("merge", {}), ("organize", {"renameByName": names, "excludeByName": hidden}))


def by_step(title, unit, description, expr, log=False):
    """One curve for each run and tag over the label `step` of what `expr` gives now."""
    labelled = f'label_join(max by (run, step, tag) ({expr}), "curve", " ", "run", "tag")'
    panel = with_queries(trend.Panel(), title, unit, description, [query(labelled, instant=True)])
    x = "step\\curve"  # as groupingToMatrix calls it
    panel = transformed(panel, ("groupingToMatrix", {"rowField": "step", "columnField": "curve", "valueField": "Value", "emptyValue": "null"}),
                        ("convertFieldType", {"fields": {}, "conversions": [{"targetField": x, "destinationType": "number"}]}),
                        ("sortBy", {"fields": {}, "sort": [{"field": x, "desc": False}]}))
    if log:
        panel = panel.scale_distribution(common.ScaleDistributionConfig().type(ScaleDistribution.LOG).log(10))
    legend = common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM).show_legend(True)
    return panel.x_field(x).legend(legend).height(8).span(12).show_points(VisibilityMode.ALWAYS).point_size(6).span_nulls(True)


def annotation(name, color, expr):
    """At the times, in milliseconds since 1970, that a series holds (text_of says so)."""
    return dashboard.AnnotationQuery().name(name).datasource(SOURCE).enable(True).icon_color(color).expr(expr)


def started(runs, attempt):
    """When processes began that are this start of their run."""
    return f"1000 * cfm_start_time_seconds{{{runs}}} and on (run) (cfm_attempt{{{runs}}} {attempt})"


def text_of(board):
    document = json.loads(JSONEncoder(sort_keys=True).encode(board))
    for query in document["annotations"].get("list") or []:
        query["useValueForTime"] = "on"  # which the SDK does not know
    return json.dumps(document, indent=1, sort_keys=True) + "\n"


def choice(name, series):
    """A variable of the values that the label of its name has in a series; all of them at first."""
    return (dashboard.QueryVariable(name).label(name).query(f"label_values({series}, {name})").datasource(SOURCE)
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).multi(True).include_all(True).all_value(".*"))


def page(uid, title, description, run_query, multi):
    source = dashboard.DatasourceVariable("source").label("Prometheus").type("prometheus")
    run = dashboard.QueryVariable("run").label("run").query(run_query).datasource(SOURCE).refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
    if multi:
        run = run.multi(True).include_all(True).all_value(".*")
    return (dashboard.Dashboard(title).uid(uid).description(description).tags(["cfm"]).refresh("30s").time("now-6h", "now")
            .with_variable(source).with_variable(run))


def one_run():
    node = choice("node", f"cfm_node_ranks{{{RUN}}}")
    rank = choice("rank", f'cfm_rank_resident_bytes{{{RUN},node=~"$node"}}')
    on_node = f'{RUN},node=~"$node"'
    of_rank = f'{on_node},rank=~"$rank"'
    slowest = f'count_over_time(run:cfm_slowest_rank:node{{{of_rank}}}[10m])'
    # Before the first commit of a process the series holds when that began.
    committed = f"1000 * cfm_checkpoint_time_seconds{{{RUN}}} and on (run, instance) cfm_checkpoints_total{{{RUN}}} > 0"
    newest = lambda series: f"max by (run) ({series}{{{RUN}}})"  # noqa: E731
    board = page("cfm-run", "cfm: one run", "Where a run stands, what it learns, where its time goes.", "label_values(cfm_start_time_seconds, run)", multi=False)
    return (board.with_variable(node).with_variable(rank)
            .with_row(dashboard.Row("Progress"))
            .with_panel(word("Stage", "What the run is at: data (opened, copied), weights (made, loaded), training, held-out (losses, samples).", f"cfm_stage{{{RUN}}} == 1", "{{stage}}"))
            .with_panel(number("Step", "short", "Steps made, skipped updates included.", newest("cfm_step")))
            .with_panel(number("Of", "short", "Steps that the run is to make.", newest("cfm_last_step")))
            .with_panel(number("Time left", "dtdurations", "At the speed of the last steps.", f"min by (run) (cfm_eta_seconds{{{RUN}}})"))
            .with_panel(number("Epochs", "short", "Images seen over the images of the data set.", newest("cfm_epoch")))
            .with_panel(number("Start", "short", "How often the run has been started: 1 is the first.", newest("cfm_attempt")))
            .with_panel(number("Goodput", "percentunit", "Time in steps whose update was made, over time since this process began, its set-up included.", newest("cfm_goodput_ratio")))
            .with_row(dashboard.Row("Learning"))
            .with_panel(curves("Training loss", "short", "Of each step, and its mean over five minutes.", (f"cfm_loss{{{RUN}}}", "step"),
                               (f"avg_over_time(cfm_loss{{{RUN}}}[5m])", "mean over 5 min"), log=True))
            .with_panel(curves("Held-out loss", "short", "On the same held-out images, times and noises every time.",
                               (f"cfm_validation_loss{{{RUN}}}", "{{weights}}"), log=True))
            .with_panel(curves("Held-out loss by time", "short", "Bin 0 is the tenth of t at the noise, bin 9 at the data.",
                               (f"cfm_validation_loss_by_time{{{RUN}}}", "{{weights}} bin {{bin}}"), log=True))
            .with_panel(curves("Training loss by time", "short", "Mean over the last --log_every steps; bin 0 is the tenth of t at the noise, bin 9 at the data.",
                               (f"cfm_loss_by_time{{{RUN}}}", "bin {{bin}}"), log=True))
            .with_panel(curves("Gradient norm", "short", "Of the reduced gradient, before clipping.", (f"cfm_gradient_norm{{{RUN}}}", "norm"), log=True))
            .with_panel(curves("Learning rate", "short", "Of each step.", (f"cfm_learning_rate{{{RUN}}}", "lr")))
            .with_panel(curves("EMA decay", "short", "By which the last update decayed each average: less at first, while it warms up.",
                               (f"cfm_ema_decay{{{RUN}}}", "{{decay}}")))
            .with_panel(curves("Skipped updates", "short", "In 15 minutes, because a loss or a gradient was not finite.",
                               (f"sum by (run) (increase(cfm_skipped_updates_total{{{RUN}}}[15m]))", "skipped")))
            .with_row(dashboard.Row("Speed"))
            .with_panel(curves("Images per second", "short", "Over all ranks.", (f"cfm_images_per_second{{{RUN}}}", "smoothed"),
                               (f"run:cfm_images:rate5m{{{RUN}}}", "over 5 min")))
            .with_panel(curves("A step", "s", "On the slowest rank.", (f"cfm_step_seconds{{{RUN}}}", "seconds")))
            .with_panel(curves("Where a step's time goes", "s", "Mean over ranks; all_reduce is what backward did not hide.",
                               (f'cfm_phase_seconds{{{RUN},over="mean"}}', "{{phase}}"), stacked=True))
            .with_panel(curves("Spread over ranks", "s", "The slowest rank's phase less the fastest's.",
                               (f'cfm_phase_seconds{{{RUN},over="max"}} - ignoring (over) cfm_phase_seconds{{{RUN},over="min"}}', "{{phase}}")))
            .with_panel(curves("Slowest rank", "percentunit", "How often in ten minutes it was this one that took longest without its waiting for others.",
                               (f"{slowest} / on (run) group_left () sum by (run) (count_over_time(run:cfm_slowest_rank:node{{{RUN}}}[10m]))",
                                "rank {{rank}} on {{node}}"), stacked=True))
            .with_panel(curves("Its lag", "percentunit", "How much longer it took than the mean of all ranks.", (f"cfm_slowest_rank_lag_ratio{{{RUN}}}", "lag")))
            .with_row(dashboard.Row("Checkpoints and machines"))
            .with_panel(curves("Age of the last checkpoint", "s", "So much would be lost now.", (f"run:cfm_checkpoint_age:seconds{{{RUN}}}", "age")))
            .with_panel(curves("A save", "s", "From request to commit, and how long training stood still for it.",
                               (f"cfm_checkpoint_seconds{{{RUN}}}", "in all"), (f"cfm_checkpoint_stall_seconds{{{RUN}}}", "stalled"), log=True))
            .with_panel(curves("Failed saves", "short", "In an hour; training goes on, earlier checkpoints are intact.",
                               (f"sum by (run) (increase(cfm_checkpoint_failures_total{{{RUN}}}[1h]))", "failed")))
            .with_panel(curves("Room", "bytes", "On the file system of the run's folder, and the size of a checkpoint.",
                               (f"cfm_disk_free_bytes{{{RUN}}}", "free"), (f"cfm_checkpoint_bytes{{{RUN}}}", "a checkpoint"), log=True))
            .with_panel(curves("Memory", "bytes", "Resident, of a node's ranks.", (f"cfm_node_resident_bytes{{{on_node}}}", "{{node}}")))
            .with_panel(curves("Memory of ranks", "bytes", "Resident.", (f"cfm_rank_resident_bytes{{{of_rank}}}", "rank {{rank}} on {{node}}")))
            .with_panel(curves("GPU memory", "bytes", "Of the rank that has most: by tensors, their peak, and what LibTorch has reserved.",
                               (f"cfm_gpu_memory_bytes{{{RUN}}}", "{{of}}")))
            .with_panel(curves("Processors", "short", "Cores that a node's ranks keep busy.", (f"rate(cfm_node_cpu_seconds_total{{{on_node}}}[1m])", "{{node}}")))
            .with_panel(curves("Processors of ranks", "short", "Cores that a rank keeps busy.",
                               (f"rate(cfm_rank_cpu_seconds_total{{{of_rank}}}[1m])", "rank {{rank}} on {{node}}")))
            .with_panel(curves("Lost steps", "short", "That the start before had logged beyond the checkpoint that this one began from.",
                               (f"cfm_lost_steps{{{RUN}}}", "lost")))
            .with_panel(curves("Lost time", "s", "How long the start before was at these.", (f"cfm_lost_seconds{{{RUN}}}", "lost")))
            .annotation(annotation("checkpoints", "green", committed))
            .annotation(annotation("first start", "orange", started(RUN, "== 1")))
            .annotation(annotation("requeues", "red", started(RUN, "> 1")))
            .annotation(annotation("evaluations", "blue", f"1000 * cfm_result_time_seconds{{{RUN}}}")))


def all_runs():
    board = page("cfm-runs", "cfm: all runs", "Runs at a glance and side by side.", "label_values(cfm_start_time_seconds, run)", multi=True)
    by_run = lambda series: f"max by (run) ({series}{{{RUNS}}})"  # noqa: E731
    return (board
            .with_panel(rows_of("Runs", "Where each run stands.", ("step", "short", by_run("cfm_step")), ("of", "short", by_run("cfm_last_step")),
                                ("loss", "short", by_run("cfm_loss")), ("images per second", "short", by_run("cfm_images_per_second")),
                                ("time left", "dtdurations", f"min by (run) (cfm_eta_seconds{{{RUNS}}})"),
                                ("checkpoint's age", "dtdurations", f"run:cfm_checkpoint_age:seconds{{{RUNS}}}"),
                                ("start", "short", by_run("cfm_attempt")),
                                ("failed saves in an hour", "short", f"sum by (run) (increase(cfm_checkpoint_failures_total{{{RUNS}}}[1h]))")))
            .with_panel(curves("Training loss", "short", "Mean over five minutes.", (f"max by (run) (avg_over_time(cfm_loss{{{RUNS}}}[5m]))", "{{run}}"), log=True))
            .with_panel(curves("Held-out loss", "short", "Of the weights and of their longest average.",
                               (f"max by (run, weights) (cfm_validation_loss{{{RUNS}}})", "{{run}} {{weights}}"), log=True))
            .with_panel(curves("Images per second", "short", "Over all ranks, over five minutes.", (f"run:cfm_images:rate5m{{{RUNS}}}", "{{run}}")))
            .with_panel(curves("Progress", "percentunit", "Steps made over steps to make.", (f"max by (run) (cfm_step{{{RUNS}}} / cfm_last_step{{{RUNS}}})", "{{run}}")))
            .with_panel(curves("Waiting for data", "percentunit", "Share of the time.", (f'run:cfm_phase_share:ratio5m{{{RUNS},phase="data"}}', "{{run}}")))
            .with_panel(curves("Slowest rank's lag", "percentunit", "Over the mean of all ranks.",
                               (f"max by (run) (cfm_slowest_rank_lag_ratio{{{RUNS}}})", "{{run}}")))
            .annotation(annotation("first starts", "orange", started(RUNS, "== 1")))
            .annotation(annotation("requeues", "red", started(RUNS, "> 1"))))


def evaluators():
    board = page("cfm-results", "cfm: evaluations", "What evaluators found, by step.", "label_values(cfm_result, run)", multi=True)
    now = lambda series: f"max by (run, metric, step, tag) ({series}{{{RUNS}}})"  # noqa: E731
    found = lambda metric: f'cfm_result{{{RUNS},metric="{metric}"}}'  # noqa: E731
    of = lambda metric: f"max by (run, step, tag) ({found(metric)})"  # noqa: E731
    return (board
            .with_panel(by_step("Bits per dimension", "short", "Of held-out images, by the step of the weights.", found("nll_bits_per_dim")))
            .with_panel(by_step("FID", "short", "Mean over the repeats, by the step of the weights.", found("fid"), log=True))
            .with_panel(by_step("Evaluations an image", "short", "Network evaluations of an image's likelihood, by the step of the weights.", found("nll_nfe")))
            .with_panel(by_step("Evaluations a sample", "short", "Network evaluations of a sample that FID was measured on, by the step of the weights.",
                                found("fid_nfe")))
            .with_panel(rows_of("Likelihood", "Bits per dimension of held-out images, and network evaluations an image.",
                                ("bits per dim", "short", of("nll_bits_per_dim")), ("evaluations", "short", of("nll_nfe"))))
            .with_panel(rows_of("Samples", "Means over the repeats, and network evaluations a sample.", ("FID", "short", of("fid")),
                                ("sFID", "short", of("sfid")), ("Inception Score, 10 splits", "short", of("is_10_splits")),
                                ("of 5000 each", "short", of("is_splits_of_5000")), ("KID", "short", of("kid")),
                                ("precision", "percentunit", of("precision")), ("recall", "percentunit", of("recall")),
                                ("evaluations", "short", of("fid_nfe"))))
            .with_panel(rows_of("Evaluators", "How far they are, by --metrics_textfile or --metrics_push.", ("images", "short", now("cfm_evaluation_images")),
                                ("of", "short", now("cfm_evaluation_last_image")), ("time left", "dtdurations", now("cfm_evaluation_eta_seconds")))))


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent / "dashboards")
    folder.mkdir(parents=True, exist_ok=True)
    for name, board in {"one_run": one_run(), "all_runs": all_runs(), "evaluations": evaluators()}.items():
        (folder / f"{name}.json").write_text(text_of(board.build()))


main()
