"""The page: one file, no network, light or dark as the reader's system is."""

from html import escape

from .chart import STYLE as CHART_STYLE
from .chart import Chart, figure
from .table import Table, to_html

STYLE = """
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1180px; padding: 24px 20px 64px; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "Liberation Sans", sans-serif; }
h1 { font-size: 24px; margin: 0 0 4px; } h2 { font-size: 18px; margin: 40px 0 12px; padding-top: 12px; border-top: 1px solid var(--rule); }
h3 { font-size: 15px; margin: 16px 0 6px; } small, .note, .files { color: var(--soft); font-size: 13px; font-weight: normal; }
nav { margin: 10px 0 0; display: flex; flex-wrap: wrap; gap: 4px 16px; } a { color: var(--c0); text-decoration: none; } a:hover { text-decoration: underline; }
.parts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 500px), 1fr)); gap: 18px; align-items: start; }
.parts > * { grid-column: 1 / -1; min-width: 0; margin: 0; } .parts > figure { grid-column: auto; background: var(--panel); border-radius: 8px; padding: 12px; }
.parts > h3 { margin-bottom: -12px; } .table h3 { margin: 0 0 4px; } .missing { color: var(--soft); } figcaption { font-weight: 600; margin-bottom: 4px; }
code { background: var(--panel); padding: 1px 5px; border-radius: 4px; color: var(--ink); font: 13px ui-monospace, "Liberation Mono", monospace; overflow-wrap: anywhere; }
.strip { display: flex; gap: 12px; overflow-x: auto; padding-bottom: 8px; } .strip figure { margin: 0; flex: none; }
.strip figcaption { font-weight: normal; font-size: 13px; color: var(--soft); margin: 2px 0 0; }
img { max-width: 100%; height: auto; display: block; border-radius: 3px; } .film img, .small img { image-rendering: pixelated; }
.strip label { cursor: zoom-in; } .strip input { display: none; } .strip img { width: 262px; max-width: none; } .strip input:checked + img { width: auto; min-width: 524px; image-rendering: pixelated; }
figure > svg { display: block; width: 100%; height: auto; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 16px; font-size: 13px; margin-top: 4px; } .swatch { width: 26px; height: 8px; margin-right: 6px; vertical-align: middle; }
.note { margin: 4px 0 0; } .table { overflow-x: auto; } table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
.files a { margin-left: 6px; }
th, td { padding: 3px 12px 3px 0; border-bottom: 1px solid var(--rule); text-align: left; white-space: nowrap; } th { color: var(--soft); font-weight: 600; }
.number { text-align: right; }
"""
LONG_TABLE = 12


def _part(part) -> str:
    if isinstance(part, Chart):
        return figure(part)
    if not isinstance(part, Table):
        return part
    if len(part.rows) <= LONG_TABLE:
        return to_html(part)
    return f"<details><summary>{escape(part.title)}: {len(part.rows)} rows</summary>{to_html(part)}</details>"


def page(names, sections, when: str, by="scripts/report") -> str:
    title = "cfm report: " + ", ".join(names)
    links = "".join(f'<a href="#s{i}">{escape(section.title)}</a>' for i, section in enumerate(sections))
    body = "\n".join(f'<section id="s{i}"><h2>{escape(section.title)}</h2><div class="parts">\n' + "\n".join(map(_part, section.parts)) + "</div></section>"
                     for i, section in enumerate(sections))
    return (f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{escape(title)}</title><style>{CHART_STYLE}{STYLE}</style></head>\n<body><header><h1>{escape(', '.join(names))}</h1>"
            f'<small>written {escape(when)} by {escape(by)}</small><nav>{links}</nav></header>\n{body}\n</body></html>\n')
