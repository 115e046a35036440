"""Line charts as SVG, of their own width; colours are STYLE's (classes c0, c1, ...), values show on hovering."""

import xml.etree.ElementTree as xml
from dataclasses import dataclass
from html import escape

from .axis import axis_for, number_text, shown, tick_labels

WIDTH, HEIGHT = 520, 300
LEFT, RIGHT, TOP, BOTTOM = 68, 14, 12, 46
COLOURS, DASHES = 8, 5
MOST_POINTS = 250
STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1d2329; --soft: #5b6670; --rule: #dfe4e8; --panel: #f6f8f9;
  --c0: #0b6fb8; --c1: #c2500a; --c2: #12805c; --c3: #a03a86; --c4: #8a6d00; --c5: #4b55c4; --c6: #b3261e; --c7: #52616b; }
@media (prefers-color-scheme: dark) { :root { --paper: #14181c; --ink: #e4e8eb; --soft: #98a3ad; --rule: #2d353c; --panel: #1b2025;
  --c0: #5cb3f2; --c1: #f5914e; --c2: #4cc79c; --c3: #e08aca; --c4: #d9bc4a; --c5: #9aa3ff; --c6: #ff8a80; --c7: #a9b7c0; } }
.line, .whisker { fill: none; stroke: currentColor; stroke-width: 1.8; stroke-linejoin: round; } .whisker { stroke-width: 1.2; opacity: .7; }
.d1 .line { stroke-dasharray: 6 4; } .d2 .line { stroke-dasharray: 2 3; }
.d3 .line { stroke-dasharray: 8 3 2 3; } .d4 .line { stroke-dasharray: 8 3 2 3 2 3; } .dot { fill: currentColor; } .spot { fill: transparent; }
.spot:hover, .dot:hover { fill: currentColor; stroke: var(--ink); stroke-width: 1.5; }
.grid { stroke: var(--rule); stroke-width: 1; } .axis { fill: none; stroke: var(--soft); stroke-width: 1; }
text { fill: var(--soft); font-size: 11.5px; } text.label { fill: var(--ink); font-size: 12px; }
""" + "".join(f".c{i} {{ color: var(--c{i}); }}\n" for i in range(COLOURS))


@dataclass
class Series:
    label: str
    points: list  # (x, y) by x
    colour: int = 0
    dash: int = 0  # 0 solid, 1 dashed, 2 dotted, 3 and 4 both
    spread: list | None = None  # (low, high) of each point: a whisker
    listed: bool = True  # in the legend


@dataclass
class Chart:
    title: str
    x_label: str
    y_label: str
    series: list
    log_x: bool = False
    log_y: bool = False
    note: str = ""


def thinned(points, most=MOST_POINTS):
    """Means of equally many neighbours, at most `most` of them, and how many each stands for."""
    each = -(-len(points) // most) if points else 1
    groups = [points[i : i + each] for i in range(0, len(points), each)]
    mean = lambda values: sum(values) / len(values)  # noqa: E731
    return [(mean([x for x, _ in group]), mean([y for _, y in group])) for group in groups], each


def svg(chart: Chart) -> str:
    """A chart that stands in a page with STYLE."""
    return xml.tostring(_drawing(chart), encoding="unicode")


def standalone(chart: Chart) -> str:
    """A file of its own: the chart with style, title and legend."""
    drawing, top, row = _drawing(chart), 24, 18
    height = top + HEIGHT + row * len(chart.series)
    root = xml.Element("svg", {**drawing.attrib, "viewBox": f"0 0 {WIDTH} {height}", "width": str(2 * WIDTH), "height": str(2 * height)})
    xml.SubElement(root, "style").text = STYLE + "svg { font-family: system-ui, sans-serif; background: var(--paper); }"
    _text(root, chart.title, str(LEFT), "18", "start", "label")
    xml.SubElement(root, "g", {"transform": f"translate(0 {top})"}).extend(list(drawing))
    for i, series in enumerate(chart.series):
        y = top + HEIGHT + row * i + 6
        group = xml.SubElement(root, "g", {"class": f"c{series.colour % COLOURS} d{series.dash % DASHES}"})
        xml.SubElement(group, "path", {"class": "line", "d": f"M{LEFT} {y}h26"})
        _text(root, series.label, str(LEFT + 34), str(y + 4), "start")
    return xml.tostring(root, encoding="unicode")


def _drawing(chart: Chart):
    whiskers = [(x, y) for series in chart.series for (x, _), pair in zip(series.points, series.spread or []) for y in pair]
    points = [point for series in chart.series for point in series.points] + whiskers
    points = [(x, y) for x, y in points if shown(x, chart.log_x) and shown(y, chart.log_y)]
    x_axis, y_axis = axis_for([x for x, _ in points], chart.log_x), axis_for([y for _, y in points], chart.log_y)
    at_x = lambda x: LEFT + x_axis.share(x) * (WIDTH - LEFT - RIGHT)  # noqa: E731
    at_y = lambda y: HEIGHT - BOTTOM - y_axis.share(y) * (HEIGHT - TOP - BOTTOM)  # noqa: E731
    root = xml.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "viewBox": f"0 0 {WIDTH} {HEIGHT}", "role": "img", "aria-label": chart.title})
    _grid(root, chart, x_axis, y_axis, at_x, at_y)
    for series in chart.series:
        _draw(root, series, chart, at_x, at_y)
    return root


def _grid(root, chart, x_axis, y_axis, at_x, at_y):
    low, high = HEIGHT - BOTTOM, WIDTH - RIGHT
    for tick, words in zip(x_axis.ticks, tick_labels(x_axis.ticks)):
        x = f"{at_x(tick):.1f}"
        xml.SubElement(root, "line", {"class": "grid", "x1": x, "x2": x, "y1": str(TOP), "y2": str(low)})
        _text(root, words, x, str(low + 16), "middle")
    for tick, words in zip(y_axis.ticks, tick_labels(y_axis.ticks)):
        y = at_y(tick)
        xml.SubElement(root, "line", {"class": "grid", "x1": str(LEFT), "x2": str(high), "y1": f"{y:.1f}", "y2": f"{y:.1f}"})
        _text(root, words, str(LEFT - 7), f"{y + 4:.1f}", "end")
    xml.SubElement(root, "path", {"class": "axis", "d": f"M{LEFT} {TOP}V{low}H{high}"})
    _text(root, chart.x_label + (" (log)" if chart.log_x else ""), str((LEFT + high) // 2), str(HEIGHT - 8), "middle", "label")
    label = _text(root, chart.y_label + (" (log)" if chart.log_y else ""), "0", "0", "middle", "label")
    label.set("transform", f"translate(13 {(TOP + low) // 2}) rotate(-90)")


def _text(root, text, x, y, anchor, kind="tick"):
    element = xml.SubElement(root, "text", {"class": kind, "x": x, "y": y, "text-anchor": anchor})
    element.text = text
    return element


def _draw(root, series, chart, at_x, at_y):
    group = xml.SubElement(root, "g", {"class": f"c{series.colour % COLOURS} d{series.dash % DASHES}"})
    path, pen_down = [], False
    for x, y in series.points:
        visible = shown(x, chart.log_x) and shown(y, chart.log_y)
        if visible:
            path.append(f"{'L' if pen_down else 'M'}{at_x(x):.1f} {at_y(y):.1f}")
        pen_down = visible
    if path:
        xml.SubElement(group, "path", {"class": "line", "d": "".join(path)})
    few = len(series.points) <= 40
    for i, (x, y) in enumerate(series.points):
        if not (shown(x, chart.log_x) and shown(y, chart.log_y)):
            continue
        title = f"{series.label}\n{chart.x_label} {number_text(x, 6)}\n{chart.y_label} {number_text(y, 6)}"
        if series.spread and all(shown(end, chart.log_y) for end in series.spread[i]):
            low, high = series.spread[i]
            title += f" ({number_text(low, 6)} to {number_text(high, 6)})"
            xml.SubElement(group, "path", {"class": "whisker", "d": f"M{at_x(x):.1f} {at_y(low):.1f}V{at_y(high):.1f}"})
        circle = xml.SubElement(group, "circle", {"class": "dot" if few else "spot", "cx": f"{at_x(x):.1f}", "cy": f"{at_y(y):.1f}", "r": "3" if few else "4"})
        xml.SubElement(circle, "title").text = title


def figure(chart: Chart) -> str:
    """The chart with its title, legend and note, as HTML."""
    legend = ""
    if len(chart.series) > 1:
        swatch = '<svg viewBox="0 0 26 8" class="swatch"><g class="c{} d{}"><path class="line" d="M1 4H25"></path></g></svg>'
        entries = [swatch.format(s.colour % COLOURS, s.dash % DASHES) + escape(s.label) for s in chart.series if s.listed]
        legend = '<div class="legend">' + "".join(f"<span>{entry}</span>" for entry in entries) + "</div>"
    note = f'<p class="note">{escape(chart.note)}</p>' if chart.note else ""
    return f"<figure><figcaption>{escape(chart.title)}</figcaption>{svg(chart)}{legend}{note}</figure>"
