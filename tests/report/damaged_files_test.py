"""What is not as docs/formats.md says: the file (and line) is named, and the exit code is 2."""

import errno
import json
import unittest

from report_support import ReportTest, event, npy, png, start, step, trajectories

from reporting.bad_input import exit_code


class DamagedFiles(ReportTest):
    def assert_refused(self, run, *words):
        finished = self.report(run, f"--out={self.folder / 'out'}")
        self.assertEqual(finished.returncode, 2, finished.stdout + finished.stderr)
        for word in words:
            self.assertIn(word, finished.stderr)
        self.assertNotIn("Traceback", finished.stderr)
        self.assertFalse((self.folder / "out").exists(), "nothing is written")

    def test_no_such_run(self):
        self.assert_refused(self.folder / "none", "none: there is no such run")

    def test_a_folder_that_is_no_run(self):
        (self.folder / "empty").mkdir()
        self.assert_refused(self.folder / "empty", "empty/events.jsonl", "No such file")

    def test_a_run_named_twice(self):
        run = self.run_folder("a")
        finished = self.report(run, run)
        self.assertEqual(finished.returncode, 2)
        self.assertIn("twice", finished.stderr)

    def test_a_damaged_line_in_the_middle(self):
        run = self.run_folder("a", [start(), step(1, 2.0), '{"time":"2026","at', step(2, 1.0)])
        self.assert_refused(run, "events.jsonl:3:")

    def test_a_damaged_last_line_that_is_not_torn(self):
        run = self.run_folder("a", [start(), step(1, 2.0), "\x00garbage"])
        self.assert_refused(run, "events.jsonl:3:")

    def test_a_line_without_its_number(self):
        run = self.run_folder("a", [start(), event("step", step=1, loss="high", gradient_norm=1, lr=1, step_seconds=1)])
        self.assert_refused(run, "events.jsonl:2:", "'loss'", "'high'")

    def test_a_torn_last_line_is_no_error(self):
        run = self.run_folder("a", [start(), step(1, 2.0)])
        with (run / "events.jsonl").open("a") as file:
            file.write(step(2, 1.0)[:-9])
        self.page_of(run)
        self.assertEqual(self.table("overview").splitlines()[1].split(",")[:2], ["a", "1"])

    def test_a_torn_line_before_the_next_attempt_is_no_error(self):
        run = self.run_folder("a", [start(), step(1, 2.0), step(2, 1.0)[:-9], start(1, 2), event("rewind_to", 2, step=1), step(2, 0.5, 2)])
        self.page_of(run)
        self.assertEqual(self.table("overview").splitlines()[1].split(",")[:2], ["a", "2"])

    def test_a_result_that_is_not_json(self):
        run = self.run_folder("a")
        (run / "results" / "nll-step_000000002-0123456789.json").write_text('{\n "bits_per_dim": 3,\n ')
        self.assert_refused(run, "nll-step_000000002-0123456789.json:3:", "not JSON")

    def test_a_result_without_its_number(self):
        for metric in ("nll", "fid", "fid_sweep"):
            run = self.run_folder(metric)
            (run / "results" / f"{metric}-step_000000002-0123456789.json").write_text('{"bits_per_dim": "low", "images": 1, "repeats": 1}')
            self.assert_refused(run, f"{metric}-step_000000002-0123456789.json", "not a result")

    def test_a_manifest_that_is_not_json(self):
        run = self.run_folder("a", path="ot")
        (run / "checkpoints" / "step_000000002" / "manifest.json").write_bytes(b"\xff\xfe")
        self.assert_refused(run, "manifest.json", "not JSON")

    def test_a_png_cut_anywhere(self):
        run = self.run_folder("a")
        for length in (0, 7, 20, 40, len(png()) - 1):
            (run / "samples" / "step_000000002.png").write_bytes(png()[:length])
            self.assert_refused(run, "step_000000002.png")

    def test_a_png_with_a_flipped_bit(self):
        run = self.run_folder("a")
        data = bytearray(png())
        data[20] ^= 1
        (run / "samples" / "step_000000002.png").write_bytes(data)
        self.assert_refused(run, "step_000000002.png", "CRC")

    def test_an_npz_cut_anywhere(self):
        run = self.run_folder("a")
        file = run / "trajectories-step_000000002.npz"
        trajectories(file, [[[0, 0], [1, 1]]], [0, 1])
        whole = file.read_bytes()
        for length in range(0, len(whole), 23):
            file.write_bytes(whole[:length])
            self.assert_refused(run, "trajectories-step_000000002.npz")

    def test_trajectories_of_another_shape(self):
        import zipfile
        run = self.run_folder("a")
        file = run / "trajectories-step_000000002.npz"
        for arrays in ({"x": npy("<f4", (1,), b"\0" * 4)}, {"x": npy("<f4", (2,), b"\0" * 4), "t": npy("<f8", (1,), b"\0" * 8)},
                       {"x": npy("<c8", (1,), b"\0" * 8), "t": npy("<f8", (1,), b"\0" * 8)}, {"x": b"no array", "t": b""},
                       {"x": npy("<f4", (1, 2, 1, 1, 1), b"\0" * 8), "t": npy("<f8", (2,), b"\0" * 16)}):
            with zipfile.ZipFile(file, "w") as archive:
                for name, data in arrays.items():
                    archive.writestr(name + ".npy", data)
            self.assert_refused(run, "trajectories-step_000000002.npz")

    def test_a_place_that_cannot_be_written(self):
        run = self.run_folder("a")
        (self.folder / "file").write_text("")
        finished = self.report(run, f"--out={self.folder / 'file'}")
        self.assertEqual(finished.returncode, 2)
        self.assertIn("file", finished.stderr)

    def test_a_full_disk_may_pass(self):
        self.assertEqual([exit_code(OSError(number, "")) for number in (errno.ENOSPC, errno.EIO, errno.EACCES, errno.ENOENT)], [1, 1, 2, 2])

    def test_other_files_beside_results_are_left_alone(self):
        run = self.run_folder("a")
        (run / "results" / "notes.json").write_text("not JSON")
        (run / "results" / "nll-step_000000002-x.parts").mkdir()
        (run / "results" / "nll-step_000000002-x.parts" / "settings.json").write_text(json.dumps({}))
        self.page_of(run)


if __name__ == "__main__":
    unittest.main()
