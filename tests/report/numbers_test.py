"""Numbers, escapes and charts, each held to a value that was found another way."""

import csv
import io
import json
import math
import unittest
from xml.etree import ElementTree

from report_support import ReportTest, event, png, start, step, trajectories

from reporting.axis import axis_for, linear_ticks, log_ticks, tick_labels
from reporting.chart import Chart, Series, svg, thinned
from reporting.table import Table, to_csv, to_html, to_latex, to_markdown
from reporting.trajectories import film_rows, measured, read_trajectories

SVG = "{http://www.w3.org/2000/svg}"


class Straightness(ReportTest):
    def test_a_straight_line_at_constant_speed_has_none_to_lack(self):
        path = measured([0, 0.25, 1], [[1, 2], [1.5, 3], [3, 6]])
        self.assertAlmostEqual(path.straightness, 0, 12)
        self.assertAlmostEqual(path.detour, 0, 12)

    def test_a_straight_line_at_changing_speed_lacks_speed_alone(self):
        # x = t^2 at t = 0, 1/2, 1: speeds 1/2 and 3/2 around the mean 1, so S = 1/4
        path = measured([0, 0.5, 1], [[0], [0.25], [1]])
        self.assertAlmostEqual(path.straightness, 0.25, 12)
        self.assertAlmostEqual(path.detour, 0, 12)

    def test_a_quarter_circle(self):
        # n equal chords of an arc: each 2 sin(pi/4n) long, the whole chord sqrt 2
        n = 12
        times = [0.5 * i / n for i in range(n + 1)]  # to tau = 1/2: S does not depend on the unit of time
        path = measured(times, [[math.cos(math.pi * i / (2 * n)), math.sin(math.pi * i / (2 * n))] for i in range(n + 1)])
        length = n * 2 * math.sin(math.pi / (4 * n))
        self.assertAlmostEqual(path.detour, length / math.sqrt(2) - 1, 12)
        self.assertAlmostEqual(path.straightness, length**2 / 2 - 1, 12)
        # half-way: half of the chord is covered, and the arc is 1 - 1/sqrt 2 away from it
        along, beside = path.points[n // 2]
        self.assertAlmostEqual(along, 0.5, 12)
        self.assertAlmostEqual(beside, (1 - 1 / math.sqrt(2)) / math.sqrt(2), 12)

    def test_a_sample_that_does_not_move_has_no_number(self):
        self.assertTrue(math.isnan(measured([0, 1], [[1.0], [1.0]]).straightness))

    def test_pixels_of_the_film(self):
        file = self.folder / "trajectories-step_000000007.npz"
        trajectories(file, [[[-1, 0.25], [2, -3]]], [0, 1])
        read = read_trajectories(file)
        self.assertEqual(read.step, 7)
        rows, times = film_rows(read)
        self.assertEqual([list(row) for row in rows], [[0, 160, 128, 255, 0]])  # 128 is the gap between the two times
        self.assertEqual(times, [0, 1])

    def test_straightness_over_training_is_drawn_once_there_are_two_steps(self):
        run = self.run_folder("a")
        for number, middle in ((2, 0.25), (9, 0.5)):
            trajectories(run / f"trajectories-step_{number:09d}.npz", [[[0], [middle], [1]]], [0, 0.5, 1])
        (chart,) = [chart for chart in self.page_of(run).charts if chart.get("aria-label") == "Straightness"]
        values = [title.text.split()[-1] for title in chart.iter(SVG + "title")]
        self.assertEqual([float(value) for value in values], [0.25, 0])

    def test_the_table_is_the_mean_over_samples(self):
        run = self.run_folder("a")
        trajectories(run / "trajectories-step_000000002.npz", [[[0, 0], [0.25, 0], [1, 0]], [[0, 0], [1, 1], [2, 2]]], [0, 0.5, 1])
        self.page_of(run)
        row = next(csv.DictReader(io.StringIO(self.table("straightness"))))
        self.assertAlmostEqual(float(row["S"]), (0.25 + 0) / 2, 6)


class Events(ReportTest):
    def test_what_a_resume_went_back_on_is_left_out(self):
        lines = [start(), step(1, 4.0), step(2, 3.0), step(3, 99.0), start(2, 2), event("rewind_to", 2, step=2), step(3, 2.0, 2)]
        page = self.page_of(self.run_folder("a", lines))
        titles = [title.text for title in page.charts[0].iter(SVG + "title")]
        self.assertEqual([title.split()[-1] for title in titles], ["4", "3", "2"])

    def test_a_start_from_nothing_forgets_what_a_killed_one_said(self):
        page = self.page_of(self.run_folder("a", [start(), step(1, 4.0), step(2, 3.0), start(0, 2), step(1, 5.0, 2)]))
        self.assertEqual([title.text.split()[-1] for title in page.charts[0].iter(SVG + "title")], ["5"])

    def test_a_loss_that_is_not_finite_breaks_the_line(self):
        page = self.page_of(self.run_folder("a", [start(), step(1, 4.0), step(2, "nan"), step(3, 2.0), step(4, "inf"), step(5, 1.0)]))
        line = next(path for path in page.charts[0].iter(SVG + "path") if path.get("class") == "line")
        self.assertEqual(line.get("d").count("M"), 3)

    def test_nothing_but_a_start_yet(self):
        page = self.page_of(self.run_folder("a", [start()]))
        for words in ("No steps are logged yet", "cfm_eval_nll --run_dir=", "cfm_eval_fid", "--sample_every", "--trajectories", "--val_every"):
            self.assertIn(words, page.text)


class Comparison(ReportTest):
    def test_differing_flags_are_listed_and_equal_ones_are_not(self):
        runs = [self.run_folder("a", path="ot", lr="0.1", run_dir="x"), self.run_folder("b", path="vp", lr="0.1", run_dir="y", clip="1")]
        self.page_of(*runs)
        self.assertEqual(list(csv.reader(io.StringIO(self.table("flags")))), [["flag", "a", "b"], ["clip", "(none)", "1"], ["path", "ot", "vp"]])

    def test_runs_of_one_name_are_told_apart(self):
        page = self.page_of(self.run_folder("one/run"), self.run_folder("two/run"))
        self.assertIn("one/run, two/run", page.text)

    def test_every_line_has_its_runs_colour(self):
        page = self.page_of(*[self.run_folder(name) for name in "abc"])
        self.assertEqual([group.get("class") for group in page.charts[0].iter(SVG + "g")], ["c0 d0", "c1 d0", "c2 d0"])

    def test_fid_and_sweep_are_tables_of_what_the_results_say(self):
        run = self.run_folder("a")
        fid = {"format_version": 1, "metric": "fid", "fid": {"min": 4, "mean": 5, "max": 7}, "kid": {"min": 0, "mean": 0.5, "max": 1}, "samples": 100,
               "repeats": [{"fid": 4, "nfe": 8}, {"fid": 6, "nfe": 12}], "reference_images": None, "rank_deficient": ["few"], "seconds": 1.5,
               "settings": {"samples": {"weights_xxh3_128": "00"}, "solver": {"name": "dopri5", "atol": 1e-5}, "features": {"name": "digits"}}}
        (run / "results" / "fid-step_000000002-0123456789ab.json").write_text(json.dumps(fid))
        curve = [{"solver": "euler", "steps": 8, "nfe": 8, "fid": 9.0, "rms_error": 0.125}, {"solver": "rk4", "steps": 2, "nfe": 8, "fid": 3.0, "rms_error": 0.001}]
        (run / "results" / "fid_sweep-step_000000002-0123456789ab.json").write_text(json.dumps({"curve": curve, "samples": 100}))
        self.page_of(run)
        row = next(csv.DictReader(io.StringIO(self.table("fid"))))
        self.assertEqual([row[name] for name in ("step", "FID", "least", "most", "kid", "NFE", "rank-deficient")], ["2", "5", "4", "7", "0.5", "10.0", "yes"])
        points = [[row[name] for name in ("run", "step", "solver", "NFE", "FID", "rms error", "tag")] for row in csv.DictReader(io.StringIO(self.table("nfe")))]
        self.assertEqual(points, [["a", "2", "euler", "8", "9.0", "0.125", "0123456789ab"], ["a", "2", "rk4", "8", "3.0", "0.001", "0123456789ab"]])

    def test_results_of_one_protocol_are_one_line_and_of_two_are_two(self):
        run = self.run_folder("a")
        for number, seed in ((1, 0), (2, 0), (3, 5)):
            nll = {"bits_per_dim": 3.0, "standard_error": None, "images": 4, "repeats": 1, "settings": {"weights_xxh3_128": str(number), "solver": "dp5", "steps": 4, "seed": seed}}
            (run / "results" / f"nll-step_{number:09d}-0123456789.json").write_text(json.dumps(nll))
        (chart,) = [chart for chart in self.page_of(run).charts if chart.get("aria-label") == "Negative log-likelihood"]
        self.assertEqual(sorted(len(list(line.iter(SVG + "circle"))) for line in chart.iter(SVG + "g")), [1, 2])


class Escapes(ReportTest):
    NASTY = '<b>&"50%_of $x^2~\\{#}|`*é,\n2'

    def test_a_cell_survives_each_kind_of_table(self):
        table = Table("t", "T", ["name", "value"], [[self.NASTY, 0.1 + 0.2], [None, None]])
        self.assertEqual(list(csv.reader(io.StringIO(to_csv(table))))[1], [self.NASTY, "0.30000000000000004"])
        self.assertIn(r"\textless{}b\textgreater{}\&\textquotedbl{}50\%\_of \$x\textasciicircum{}2\textasciitilde{}\textbackslash{}\{\#\}\textbar{}`*é, 2 & 0.3 \\", to_latex(table))
        self.assertEqual(to_markdown(table).splitlines()[2].replace("\\|", "").count("|"), 3)
        self.assertIn("&lt;b&gt;&amp;", to_html(table))

    def test_a_run_with_such_a_name(self):
        page = self.page_of(self.run_folder('<script>alert("1")&_%'), self.run_folder("b"))
        self.assertNotIn("<script", page.text)

    def test_the_page_needs_nothing_else(self):
        run = self.run_folder("a")
        (run / "samples" / "step_000000002.png").write_bytes(png())
        page = self.page_of(run)
        self.assertEqual(len(page.images), 1)
        for link in page.links:
            self.assertRegex(link, r"^(#s\d|tables/\w+\.(csv|md|tex)|data:image/png;base64,.*)$")
        self.assertNotIn("http", page.text.replace('xmlns="http://www.w3.org/2000/svg"', ""))
        self.assertIn("prefers-color-scheme: dark", page.text)


class Charts(unittest.TestCase):
    def test_points_stand_where_the_ticks_say(self):
        points = [(0, 1.0), (37, 4.2), (150, 2.5)]
        root = ElementTree.fromstring(svg(Chart("T", "x", "y", [Series("s", points)])))
        ticks = [text for text in root.iter(SVG + "text") if text.get("class") == "tick"]
        across = [(float(tick.text), float(tick.get("x"))) for tick in ticks if tick.get("text-anchor") == "middle"]
        down = [(float(tick.text), float(tick.get("y")) - 4) for tick in ticks if tick.get("text-anchor") == "end"]

        def value(at, pairs):
            (v0, p0), (v1, p1) = pairs[0], pairs[-1]
            return v0 + (at - p0) * (v1 - v0) / (p1 - p0)

        for (x, y), dot in zip(points, root.iter(SVG + "circle")):
            self.assertAlmostEqual(value(float(dot.get("cx")), across), x, delta=0.1)
            self.assertAlmostEqual(value(float(dot.get("cy")), down), y, delta=0.01)

    def test_a_log_axis_is_even_in_ratios(self):
        axis = axis_for([1e-3, 1.0], log=True)
        self.assertAlmostEqual(axis.share(1e-1) - axis.share(1e-2), axis.share(1e-2) - axis.share(1e-3), 12)
        self.assertEqual([tick for tick in axis.ticks], [0.001, 0.01, 0.1, 1.0])

    def test_ticks_are_few_round_and_inside(self):
        for low, high in ((0, 1), (0, 9.9), (99, 101), (-3e-7, 2e-7), (6.1, 7.3), (3, 3.0001), (0, 4e8)):
            ticks = linear_ticks(low, high)
            self.assertTrue(4 <= len(ticks) <= 10, (low, high, ticks))
            self.assertTrue(all(low - 1e-6 * (high - low) <= tick <= high + 1e-6 * (high - low) for tick in ticks), (low, high, ticks))
            self.assertEqual(len(set(tick_labels(ticks))), len(ticks))
        for low, high in ((1, 10), (3.1, 14.6), (1e-9, 1e9), (5, 8)):
            self.assertTrue(3 <= len(log_ticks(low, high)) <= 12, (low, high))

    def test_nothing_and_one_point_can_be_drawn(self):
        for points in ([], [(5, 0.0)], [(5, 3.0)], [(1, math.nan)]):
            for log in (False, True):
                ElementTree.fromstring(svg(Chart("T", "x", "y", [Series("s", points)], log, log)))

    def test_thinning_keeps_the_mean(self):
        points = [(i, float(i % 7)) for i in range(1000)]
        thin, each = thinned(points, 250)
        self.assertEqual((len(thin), each), (250, 4))
        self.assertAlmostEqual(sum(y for _, y in thin) / 250, sum(y for _, y in points) / 1000, 12)


if __name__ == "__main__":
    unittest.main()
