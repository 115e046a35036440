"""What is comparable stands together, what is not stands apart: results of several settings, sweeps, and other people's images."""

import csv
import io
import json
import unittest

from report_support import ReportTest

from reporting.results import solver_text

SVG = "{http://www.w3.org/2000/svg}"


class Results(ReportTest):
    def keep(self, run, metric, step, tag, document):
        (run / "results" / f"{metric}-step_{step:09d}-{tag}.json").write_text(json.dumps(document))

    def nll(self, run, step, bits, tag="0123456789", **settings):
        settings = {"weights_xxh3_128": f"{run.name}{step}", "seed": 0, "solver": "dopri5", "atol": 1e-5, "rtol": 1e-5, "step_control": "sample",
                    "net_batch": 64, "threads": 1, **settings}
        self.keep(run, "nll", step, tag, {"bits_per_dim": bits, "standard_error": 0.1, "images": 4, "repeats": 1, "nfe": {"min": 8, "mean": 9, "max": 10},
                                          "weights": {"name": "ema_0.999"}, "settings": settings})

    def fid(self, run, step, value, tag="0123456789", count=100, **more):
        """Of weights, or with images={"from": ...} of these."""
        identity = {"file_xxh3": tag} if "images" in more else {"weights_xxh3_128": f"{run.name}{step}"}
        drawn = {} if "images" in more else {"solver": {"name": "dopri5", "atol": 1e-5, "rtol": 1e-5, "step_control": "sample"}, "net_batch": 64}
        settings = {"samples": {**identity, "count": count, "repeats": 1}, **drawn, "reference": {"file_xxh3": "ab"}, "features": {"name": "digits"}, "threads": 1}
        weights = {} if "images" in more else {"weights": {"name": "ema_0.999"}}
        self.keep(run, "fid", step, tag, {"fid": {"min": value, "mean": value, "max": value}, "samples": count, "rank_deficient": [], "settings": settings,
                                          **weights, **more})

    def sweep(self, run, step, tag, points, count=100, nfe="8"):
        curve = [{"solver": solver, "steps": 1, "nfe": n, "fid": fid, "rms_error": error} for solver, n, fid, error in points]
        settings = {"samples": {"weights_xxh3_128": str(step), "count": count, "repeats": 1}, "solver": {"nfe": nfe, "tolerances": "", "grid": "uniform"}, "threads": 1}
        self.keep(run, "fid_sweep", step, tag, {"curve": curve, "exact": {"solver": "rk4", "steps": 1000, "samples": 8}, "samples": count, "settings": settings})

    def rows(self, name):
        return list(csv.DictReader(io.StringIO(self.table(name))))

    def protocols(self, name="nll"):
        return [row["protocol"] for row in self.rows(name)]

    def charts(self, page, title):
        return [chart for chart in page.charts if title in chart.get("aria-label", "")]

    def lines(self, chart):
        """Class and points of each line."""
        return [(group.get("class"), len(list(group.iter(SVG + "circle")))) for group in chart.iter(SVG + "g")]


class Protocols(Results):
    def test_threads_and_batch_shapes_are_no_other_protocol(self):
        run = self.run_folder("a")
        self.nll(run, 1, 3.0)
        self.nll(run, 2, 2.9, threads=2)
        self.nll(run, 3, 2.8, net_batch=7)
        self.fid(run, 1, 5.0)
        page = self.page_of(run)
        self.assertEqual(len(set(self.protocols())), 1)
        (chart,) = self.charts(page, "Negative log-likelihood")
        self.assertEqual(self.lines(chart), [("c0 d0", 3)])

    def test_the_batch_counts_where_it_shares_a_step_size(self):
        run = self.run_folder("a")
        self.nll(run, 1, 3.0, step_control="batch")
        self.nll(run, 2, 2.9, step_control="batch", net_batch=7)
        self.nll(run, 3, 2.8, step_control="batch", threads=2)
        self.page_of(run)
        self.assertEqual(len(set(self.protocols())), 2)
        self.assertIn("one step size a batch", self.protocols()[0])

    def test_seed_solver_and_weights_are_another_protocol(self):
        run = self.run_folder("a")
        for tag, settings in (("a", {}), ("b", {"seed": 1}), ("c", {"rtol": 1e-3}), ("d", {"repeats": 2}), ("e", {"dataset_fingerprint": "00"})):
            self.nll(run, 1, 3.0, tag, **settings)
        document = json.loads((run / "results" / "nll-step_000000001-a.json").read_text())
        self.keep(run, "nll", 1, "f", {**document, "weights": {"name": "raw"}})
        self.page_of(run)
        self.assertEqual(len(set(self.protocols())), 6)
        self.assertEqual(len({protocol.split("settings ")[1] for protocol in self.protocols()}), 6)

    def test_a_solver_s_tolerances_are_both_said_where_they_differ(self):
        self.assertEqual(solver_text({"solver": "dopri5", "atol": 1e-5, "rtol": 1e-5}), "dopri5 1e-05")
        self.assertEqual(solver_text({"solver": "dopri5", "atol": 1e-5, "rtol": 1e-3}), "dopri5 atol 1e-05, rtol 0.001")
        self.assertEqual(solver_text({"solver": {"name": "dopri5", "atol": 0.1, "rtol": 0.2}}), "dopri5 atol 0.1, rtol 0.2")
        self.assertEqual(solver_text({"solver": "dp5", "steps": 4, "grid": "warped"}), "dp5, 4 steps, warped")


class Overview(Results):
    def columns(self, name):
        (header, *rows) = list(csv.reader(io.StringIO(self.table("overview"))))
        return {column: [row[i] for row in rows] for i, column in enumerate(header) if column.startswith(name)}

    def test_one_protocol_is_one_column_of_the_newest(self):
        runs = [self.run_folder("a"), self.run_folder("b")]
        self.nll(runs[0], 1, 3.0)
        self.nll(runs[0], 2, 2.5, threads=2)
        self.nll(runs[1], 1, 2.75)
        page = self.page_of(*runs)
        self.assertEqual(self.columns("bits/dim"), {"bits/dim": ["2.5", "2.75"]})
        self.assertIn("bits/dim: dopri5 1e-05, K = 1, 4 images, ema_0.999, settings", page.text)

    def test_numbers_of_two_protocols_never_share_a_column(self):
        runs = [self.run_folder("a"), self.run_folder("b")]
        self.nll(runs[0], 1, 3.0)
        self.nll(runs[1], 1, 2.75)
        self.nll(runs[1], 2, 2.5, "newer", atol=0.1)
        self.fid(runs[0], 1, 5.0)
        self.fid(runs[1], 1, 9.0, count=7)
        page = self.page_of(*runs)
        (first, shared), (second, alone) = self.columns("bits/dim").items()
        self.assertEqual((shared, alone), (["3.0", "2.75"], ["", "2.5"]))  # what most runs have comes first
        protocols = {row["bits/dim"]: row["protocol"] for row in self.rows("nll")}
        self.assertTrue(protocols["3.0"].endswith(first.removeprefix("bits/dim, ")))
        self.assertTrue(protocols["2.5"].endswith(second.removeprefix("bits/dim, ")))
        self.assertEqual(sorted(self.columns("FID").values()), [["", "9.0"], ["5.0", ""]])
        self.assertIn("not comparable", page.text)

    def test_of_many_protocols_it_says_that_there_are_more(self):
        run = self.run_folder("a")
        for seed in range(5):
            self.nll(run, 1, 3.0 + seed, f"s{seed}", seed=seed)
        page = self.page_of(run)
        self.assertEqual(len(self.columns("bits/dim")), 3)
        self.assertIn("Of 2 more see the table below", page.text)

    def test_a_run_without_results_has_empty_cells(self):
        self.page_of(self.run_folder("a"))
        self.assertEqual((self.columns("bits/dim"), self.columns("FID")), ({"bits/dim": [""]}, {"FID": [""]}))


class GivenImages(Results):
    def test_they_are_of_no_step(self):
        run = self.run_folder("a")
        self.fid(run, 2, 5.0)
        self.fid(run, 0, 1.5, "other", images={"from": "--samples /data/theirs.npz: 100 images of 8x8, grey", "identity": {}})
        page = self.page_of(run)
        self.assertEqual([(row["step"], row["FID"]) for row in self.rows("fid")], [("2", "5.0")])
        (row,) = self.rows("given")
        self.assertEqual([row[name] for name in ("results of", "images", "samples", "FID", "tag")],
                         ["a", "/data/theirs.npz: 100 images of 8x8, grey", "100", "1.5", "other"])
        (chart,) = [chart for chart in page.charts if chart.get("aria-label") == "FID"]
        self.assertEqual(self.lines(chart), [("c0 d0", 1)])
        self.assertEqual(self.rows("overview")[0]["FID"], "5.0")

    def test_alone_they_are_no_number_of_the_run(self):
        run = self.run_folder("a")
        self.fid(run, 0, 1.5, images={"from": "--samples x"})
        page = self.page_of(run)
        self.assertEqual(self.rows("overview")[0]["FID"], "")
        self.assertIn("No FID of a", page.text)

    def test_two_sets_of_images_by_the_same_settings_are_of_one_protocol(self):
        run = self.run_folder("a")
        for tag in ("one", "two"):
            self.fid(run, 0, 1.5, tag, images={"from": f"--samples {tag}"})
        self.fid(run, 0, 1.5, "few", count=7, images={"from": "--samples few"})
        self.page_of(run)
        of = {row["images"]: row["protocol"] for row in self.rows("given")}
        self.assertEqual(of["one"], of["two"])
        self.assertNotEqual(of["one"], of["few"])

    def test_a_checkpoint_of_step_0_is_one(self):
        run = self.run_folder("a")
        self.fid(run, 0, 4.0)
        self.page_of(run)
        self.assertEqual([row["step"] for row in self.rows("fid")], ["0"])


class Sweeps(Results):
    POINTS = (("euler", 8, 9.0, 0.125), ("euler", 16, 8.0, 0.0625), ("rk4", 8, 3.0, 0.001))

    def test_all_are_drawn_one_over_the_other(self):
        run = self.run_folder("a")
        self.sweep(run, 2, "x", self.POINTS)
        self.sweep(run, 4, "x", self.POINTS[:2], nfe="8,16")
        page = self.page_of(run)
        for measure in ("FID", "rms error of the solution"):
            (chart,) = self.charts(page, f"a: {measure} against NFE")
            # euler, rk4 of step 2; euler of step 4: a colour a solver, a dash a sweep
            self.assertEqual(self.lines(chart), [("c0 d0", 2), ("c1 d0", 1), ("c0 d1", 2)])
        labels = {title.text.split("\n")[0] for title in chart.iter(SVG + "title")}
        self.assertEqual(labels, {"euler, step 2", "rk4, step 2", "euler, step 4"})
        # which points there are is no other protocol
        self.assertEqual(set(self.protocols("nfe")), {self.protocols("nfe")[0]})
        self.assertIn("All: uniform grids, 100 samples, settings", page.text)
        self.assertIn("solution by rk4 with 1000 steps: how exact a solver is, not how good its images are", page.text)

    def test_those_of_one_step_have_their_tags_and_of_two_protocols_a_warning(self):
        run = self.run_folder("a")
        self.sweep(run, 2, "many", self.POINTS)
        self.sweep(run, 2, "few", self.POINTS, count=7)
        page = self.page_of(run)
        (chart,) = self.charts(page, "a: FID against NFE")
        self.assertEqual({title.text.split("\n")[0] for title in chart.iter(SVG + "title")},
                         {f"{solver}, step 2 ({tag})" for solver in ("euler", "rk4") for tag in ("many", "few")})
        self.assertIn("not comparable: step 2 (few): uniform grids, 7 samples", page.text)
        self.assertEqual(len(set(self.protocols("nfe"))), 2)

    def test_of_several_runs_stand_in_one_chart_by_a_solver_that_all_have(self):
        runs = [self.run_folder("a"), self.run_folder("b"), self.run_folder("c")]
        midpoint = (("midpoint", 8, 5.0, 0.05), ("midpoint", 16, 4.0, 0.01))
        self.sweep(runs[0], 1, "x", self.POINTS[:1])
        self.sweep(runs[0], 2, "x", self.POINTS + midpoint)
        self.sweep(runs[1], 2, "x", midpoint[:1] + self.POINTS)
        page = self.page_of(*runs)
        for measure in ("FID", "rms error of the solution"):
            (chart,) = self.charts(page, f"All runs by midpoint: {measure} against NFE")
            self.assertEqual(self.lines(chart), [("c0 d0", 2), ("c1 d0", 1)])
            self.assertEqual({title.text.split("\n")[0] for title in chart.iter(SVG + "title")}, {"a, step 2", "b, step 2"})
        self.assertNotIn("Of different protocols", page.text)
        self.sweep(runs[1], 2, "x", self.POINTS, count=7)
        page = self.page_of(*runs)
        self.assertEqual(len(self.charts(page, "All runs by euler")), 2)
        self.assertIn("Of different protocols, see the table: not comparable.", page.text)
        self.sweep(runs[1], 2, "x", (("heun", 8, 1.0, 1.0),))
        self.assertEqual(self.charts(self.page_of(*runs), "All runs"), [])

    def test_one_alone_is_named_in_the_title(self):
        run = self.run_folder("a")
        self.sweep(run, 2, "x", self.POINTS)
        page = self.page_of(run)
        (chart,) = self.charts(page, "a, step 2: FID against NFE")
        self.assertEqual({title.text.split("\n")[0] for title in chart.iter(SVG + "title")}, {"euler", "rk4"})


if __name__ == "__main__":
    unittest.main()
