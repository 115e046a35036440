"""A table, and the same as CSV, Markdown, LaTeX and HTML."""

import csv
import io
from dataclasses import dataclass
from html import escape

LATEX = {"\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
         "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
         "±": r"$\pm$", "−": "$-$", "·": r"$\cdot$", '"': r"\textquotedbl{}"}
MARKDOWN = {"\\": "\\\\", "|": "\\|", "<": "&lt;", "*": "\\*", "_": "\\_", "`": "\\`", "[": "\\["}


@dataclass
class Table:
    name: str  # of the files: tables/<name>.csv, .md, .tex
    title: str
    header: list
    rows: list  # of numbers, texts or None (an empty cell)

    def is_number(self, column) -> bool:
        values = [row[column] for row in self.rows if row[column] is not None]
        return bool(values) and all(isinstance(value, (int, float)) for value in values)


def cell(value) -> str:
    """As people read it: five digits of a float. CSV has them all."""
    if value is None:
        return ""
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def latex_escape(text: str) -> str:
    return " ".join("".join(LATEX.get(character, character) for character in text).split())


def markdown_escape(text: str) -> str:
    return " ".join("".join(MARKDOWN.get(character, character) for character in text).split())


def to_csv(table: Table) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(table.header)
    writer.writerows([["" if value is None else value for value in row] for row in table.rows])
    return out.getvalue()


def to_markdown(table: Table) -> str:
    rules = ["---:" if table.is_number(column) else "---" for column in range(len(table.header))]
    lines = [[markdown_escape(name) for name in table.header], rules] + [[markdown_escape(cell(value)) for value in row] for row in table.rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def to_latex(table: Table) -> str:
    columns = "".join("r" if table.is_number(column) else "l" for column in range(len(table.header)))
    line = lambda cells: " & ".join(latex_escape(text) for text in cells) + r" \\"  # noqa: E731
    body = [line([cell(value) for value in row]) for row in table.rows]
    return "\n".join([rf"\begin{{tabular}}{{{columns}}}", r"\hline", line(table.header), r"\hline", *body, r"\hline", r"\end{tabular}"]) + "\n"


def to_html(table: Table) -> str:
    classes = [' class="number"' if table.is_number(column) else "" for column in range(len(table.header))]
    head = "".join(f"<th{kind}>{escape(name)}</th>" for name, kind in zip(table.header, classes))
    rows = "".join("<tr>" + "".join(f"<td{kind}>{escape(cell(value))}</td>" for value, kind in zip(row, classes)) + "</tr>\n" for row in table.rows)
    files = " ".join(f'<a href="tables/{escape(table.name)}.{end}">{end}</a>' for end in ("csv", "md", "tex"))
    return (f'<div class="table"><h3>{escape(table.title)} <span class="files">{files}</span></h3><table>'
            f"<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody></table></div>")
