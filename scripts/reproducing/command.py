"""From the command line to the table: pack, then train and evaluate every method with every seed, then the report's page of all runs."""

import subprocess

from reporting.bad_input import ENDS, end
from reporting.command import main as report
from reporting.table import to_csv, to_latex, to_markdown

from .picture import picture
from .programs import ROOT, SPLITS, Programs
from .run import Run
from .settings import Options, compare, keep, options_of, replace
from .tables import tables_of
from .tasks import tasks_of
from .work import STOPPED, Progress, Stopped, to_go, work


def main(arguments) -> int:
    options = options_of(arguments)
    try:
        return reproduce(options)
    except ENDS as error:
        return end("reproduce_digits", error)
    except Stopped:
        print("stopped      the same command continues")
        return STOPPED


def reproduce(options: Options) -> int:
    folder = options.folder
    compare(folder, options.settings)
    programs = Programs(options)
    keep(folder, options.settings)
    for split, first, count in SPLITS:
        if not (folder / "data" / split).is_dir():
            subprocess.run(programs.pack(split, first, count), check=True, stdout=subprocess.DEVNULL)
    runs = [Run(method, seed, options.settings.steps, folder / f"{method.key}-seed_{seed}") for seed in options.seeds for method in options.methods]
    tasks = tasks_of(runs, programs, folder / "logs")
    print(f"runs         {len(runs)} of {options.settings.steps} steps: {len(options.methods)} methods, seeds {', '.join(map(str, options.seeds))}\n"
          f"tasks        {len(tasks)}, of which {sum(task.done for task in tasks)} are done; {options.jobs} at once; {to_go(tasks, options.jobs)}", flush=True)
    progress = Progress(tasks, options.jobs)

    def finished(task):
        print(progress.line(task), flush=True)
        write_tables(options, runs)

    work(tasks, options.jobs, finished)
    print("\n" + write_tables(options, runs))
    revisions = sorted({run.revision() for run in runs})
    if len(revisions) > 1:
        print(f"warning      the runs were trained by several revisions of the programs: {', '.join(revisions)}")
    first = [run for run in runs if run.seed == options.seeds[0]]
    (folder / "samples.png").write_bytes(picture(first, ROOT / "configs/digits/digits.npz"))
    print(f"samples      {folder / 'samples.png'}: {', '.join(run.method.key for run in first)}, real digits")
    return report([*[str(run.folder) for run in runs], f"--out={folder / 'report'}"])


def write_tables(options: Options, runs) -> str:
    """Of what is there. Returns the table as text."""
    words, full, single = tables_of(options.methods, runs)
    texts = {"table.csv": to_csv(full), "table.md": to_markdown(words), "table.tex": to_latex(words),
             "runs.csv": to_csv(single), "runs.md": to_markdown(single), "runs.tex": to_latex(single)}
    for name, text in texts.items():
        replace(options.folder / name, text)
    return texts["table.md"]
