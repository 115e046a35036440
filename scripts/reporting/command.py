"""The command line: reads all runs, then writes the page and its tables."""

import argparse
from datetime import datetime, timezone
from pathlib import Path

from .bad_input import ENDS, end
from .page import page
from .run import read_runs
from .sections import sections_of
from .table import Table, to_csv, to_latex, to_markdown

WRITERS = {"csv": to_csv, "md": to_markdown, "tex": to_latex}


def main(arguments) -> int:
    parser = argparse.ArgumentParser(prog="report", description="One self-contained HTML page that compares runs, and its tables as CSV, Markdown and LaTeX.")
    parser.add_argument("runs", nargs="+", metavar="RUN", type=Path, help="a folder that cfm_train was given as --run_dir")
    parser.add_argument("--out", metavar="FOLDER", type=Path, help="for report.html and tables/ (default: report/ in the first run)")
    options = parser.parse_args(arguments)
    try:
        runs = read_runs(options.runs)
        sections = sections_of(runs)
        out = options.out or options.runs[0] / "report"
        written = write(out, [run.name for run in runs], sections)
    except ENDS as error:
        return end("report", error)
    print(f"runs         {', '.join(run.name for run in runs)}\nwritten      {out / 'report.html'}, and {written} tables in {out / 'tables'}")
    return 0


def write(out: Path, names, sections, by="scripts/report") -> int:
    """Returns the number of tables."""
    tables = [part for section in sections for part in section.parts if isinstance(part, Table)]
    folder = out / "tables"
    folder.mkdir(parents=True, exist_ok=True)
    for table in tables:
        for ending, text in WRITERS.items():
            (folder / f"{table.name}.{ending}").write_text(text(table), "utf-8")
    when = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    (out / "report.html").write_text(page(names, sections, when, by), "utf-8")
    return len(tables)
