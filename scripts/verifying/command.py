"""The command line of scripts/verify_resume."""

import argparse
import shutil
import sys
from pathlib import Path

from verifying.checkpoints import Damaged, compare, step_name
from verifying.launch import Failed, Launch

SAME, DIFFERENT, UNUSABLE = 0, 1, 2

USAGE = """scripts/verify_resume [--steps=N] [--work=FOLDER] [--keep] -- LAUNCH...
       scripts/verify_resume --compare CHECKPOINT CHECKPOINT

Runs LAUNCH (what you start training with: mpirun -n 4 cfm_train --flagfile=..., srun ..., cfm_train ...) for N steps in one go,
then for N steps with an interruption: SIGTERM to a rank, exit code 75, the same command again. Both in folders of their own under
--work, in place of your --run_dir, which is not touched. Then compares the two checkpoints of step N bit for bit.

Exit code 0: the same bits. 1: they differ; the first tensor that does is named. 2: it could not be tried."""


def say(text):
    print(f"verify_resume: {text}", flush=True)


def arguments(words):
    parser = argparse.ArgumentParser(usage=USAGE, allow_abbrev=False)
    parser.add_argument("--steps", type=int, default=40, help="steps of each run; the signal comes half-way")
    parser.add_argument("--work", type=Path, default=Path("verify_resume"), help="folder for the two runs; must not exist")
    parser.add_argument("--keep", action="store_true", help="leave the folder even if all is well")
    parser.add_argument("--compare", nargs=2, type=Path, metavar="CHECKPOINT", help="only compare two step_… folders")
    own, launch = (words, []) if "--" not in words else (words[: words.index("--")], words[words.index("--") + 1 :])
    chosen = parser.parse_args(own)
    if chosen.compare is None and not launch:
        parser.error("there is no LAUNCH: give the command that starts your training behind --")
    if chosen.steps < 4:
        parser.error(f"--steps={chosen.steps}: expected at least 4, so that there is room for an interruption")
    return chosen, launch


def report(difference, whole, parts):
    """Says what compare() found; whether the two are the same."""
    if difference is None:
        return True
    say(f"NOT the same bits: {difference}")
    say(f"  in one go    {whole}")
    say(f"  interrupted  {parts}")
    return False


def verify(chosen, words):
    work = chosen.work
    if work.exists():
        raise Failed(f"--work={work} is there already: remove it, or name another folder")
    launch = Launch(words, chosen.steps)
    work.mkdir(parents=True)
    whole, parts = work / "in_one_go", work / "interrupted"
    say(f"{chosen.steps} steps in one go")
    launch.run(whole, work / "in_one_go.log")
    say(f"{chosen.steps} steps with an interruption")
    stopped_at = launch.run_until_stopped(parts, work / "interrupted.log")
    say(f"stopped by a signal after step {stopped_at}, saved, exit code 75; the same command again")
    launch.run_on_from(stopped_at, parts, work / "resumed.log")

    found = [folder / "checkpoints" / step_name(chosen.steps) for folder in (whole, parts)]
    same = report(compare(*found), *found)
    if same:
        say(f"the same bits: {', '.join(sorted(file.name for file in found[0].glob('*.safetensors')))} of step {chosen.steps}, "
            f"in one go and interrupted at step {stopped_at}")
        if not chosen.keep:
            shutil.rmtree(work)
        return SAME
    step = launch.first_loss_that_differs(whole, parts)
    say("the losses of all steps are the same" if step is None else f"losses differ from step {step} on (the signal came at {stopped_at})")
    say("once more in one go, to tell whether this machine repeats itself at all")
    launch.run(work / "in_one_go_again", work / "in_one_go_again.log")
    again = compare(found[0], work / "in_one_go_again" / "checkpoints" / step_name(chosen.steps))
    if again is None:
        say("two runs in one go are the same bits: it is the resume that is not exact")
    else:
        say(f"two runs in one go differ too ({again}): this machine or configuration does not repeat itself, resume or not")
    return DIFFERENT


def main(words):
    chosen, launch = arguments(words)
    try:
        if chosen.compare:
            if not report(compare(*chosen.compare), *chosen.compare):
                return DIFFERENT
            say("the same bits")
            return SAME
        return verify(chosen, launch)
    except (Failed, Damaged) as problem:
        print(f"verify_resume: error: {problem}", file=sys.stderr)
        return UNUSABLE
