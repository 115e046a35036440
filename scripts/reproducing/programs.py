"""The programs' command lines. Every setting that decides a number and is not a config's stands here."""

import os
import shutil
import subprocess
from pathlib import Path

from reporting.bad_input import BadInput

from .run import TAG, Run
from .settings import Options

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("cfm_pack", "cfm_train", "cfm_eval_nll", "cfm_eval_fid")
SAMPLES_AT_ONCE = 160  # of so narrow a network they take less time an image than the program's 64
SPLITS = (("train", 0, 1297), ("val", 1297, 200), ("test", 1497, 300))  # as scripts/demo


class Programs:
    """Where they are, and how they are started: alone, or under mpirun with options.ranks."""

    def __init__(self, options: Options):
        self.options = options
        self.path = dict(zip(NAMES, _found(options)))
        self.launcher = []
        if options.ranks > 1:
            leave = ["--allow-run-as-root"] if os.getuid() == 0 else []
            self.launcher = ["mpirun", "-n", str(options.ranks), "--oversubscribe", "--bind-to", "none", *leave]

    def pack(self, split, first, count) -> list:
        source = f"--source={ROOT / 'configs/digits/digits.npz'}"
        return [self.path["cfm_pack"], source, f"--out={self._data()}", f"--split={split}", f"--first={first}", f"--count={count}", "--grey_levels=17"]

    def train(self, run: Run) -> list:
        """A tenth of the steps warms up, as in configs/digits.flags. Every checkpoint stays."""
        settings = self.options.settings
        every = settings.steps // settings.checkpoints
        return [*self.launcher, self.path["cfm_train"], f"--flagfile={ROOT / 'configs' / run.method.config}", *run.method.flags, f"--run_dir={run.folder}",
                f"--train_data={self._data('train')}", f"--val_data={self._data('val')}", f"--seed={run.seed}", f"--steps={settings.steps}",
                f"--warmup_steps={settings.steps // 10}", f"--global_batch={settings.global_batch}", f"--model_channels={settings.model_channels}",
                f"--checkpoint_every={every}", f"--val_every={every}", "--keep_last=0", f"--sample_every={settings.steps}", "--net_batch=64",
                "--threads=1"]

    def likelihood(self, run: Run) -> list:
        """One dequantisation an image, one probe."""
        settings = self.options.settings
        return [*self._evaluator("cfm_eval_nll", run, settings.nll_tolerance), f"--data={self._data('test')}", f"--count={settings.test_images}",
                "--repeats=1", "--probes=1", "--divergence=rademacher"]

    def distance(self, run: Run) -> list:
        """Against all training images."""
        settings, features = self.options.settings, ROOT / "configs/digits/features.safetensors"
        return [*self._evaluator("cfm_eval_fid", run, settings.tolerance), f"--reference={self._data('train')}", f"--features=digits:{features}",
                f"--count={settings.fid_samples}", "--repeats=1", f"--net_batch={SAMPLES_AT_ONCE}", f"--keep_samples={run.samples_file}"]

    def _evaluator(self, name, run, tolerance) -> list:
        chosen = run.chosen()
        return [*self.launcher, self.path[name], f"--run_dir={run.folder}", f"--step={chosen.step}", f"--weights={chosen.weights}", f"--tag={TAG}",
                "--seed=0", "--solver=dopri5", f"--atol={tolerance}", f"--rtol={tolerance}", "--threads=1"]

    def _data(self, split="") -> Path:
        return self.options.folder / "data" / split


def _found(options: Options) -> list:
    if options.bin is None:
        _build()
        return [str(ROOT / "build/cpu/bin" / name) for name in NAMES]
    found = [shutil.which(name, path=None if options.bin == "PATH" else options.bin) for name in NAMES]
    missing = [name for name, place in zip(NAMES, found) if place is None]
    if missing:
        raise BadInput(f"--bin={options.bin}: no {', '.join(missing)} there. Leave --bin out to build the programs.")
    return [os.path.abspath(place) for place in found]


def _build():
    for command in (["scripts/setup"], ["cmake", "--preset", "cpu"], ["cmake", "--build", "--preset", "cpu", "--target", *NAMES]):
        quiet = subprocess.DEVNULL if "--preset" in command and "--build" not in command else None
        subprocess.run(command, cwd=ROOT, check=True, stdout=quiet)
