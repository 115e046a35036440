"""Densities and trajectories as panels in rows and columns, with words at their edges: PNGs of one palette."""

from reporting.png import encode_png

from . import lettering
from .board import DENSITY

EDGE = 5.5  # panels show [-EDGE, EDGE] in x and y
BINS = 44
LEVELS = 32  # of darkness: colours 0 .. LEVELS - 1
INK, RULE = LEVELS, LEVELS + 1
GAP = 4
DARKEST = 2 * DENSITY


def _palette():
    stops = [(255, 255, 255), (170, 205, 225), (60, 130, 180), (15, 60, 120), (8, 20, 55)]
    colours = []
    for level in range(LEVELS):
        place = level / (LEVELS - 1) * (len(stops) - 1)
        i = min(int(place), len(stops) - 2)
        colours.append(tuple(round(a + (place - i) * (b - a)) for a, b in zip(stops[i], stops[i + 1])))
    return colours + [(30, 36, 42), (190, 198, 205)]


PALETTE = _palette()


def density_panel(points) -> list:
    """BINS rows of levels, the top row has the largest y: 0 where no point is, LEVELS - 1 from twice the board's density on."""
    width = 2 * EDGE / BINS
    counts = [[0] * BINS for _ in range(BINS)]
    for x, y in points:
        column, row = int((x + EDGE) // width), int((y + EDGE) // width)
        if 0 <= column < BINS and 0 <= row < BINS:
            counts[BINS - 1 - row][column] += 1
    most = DARKEST * width * width * len(points)
    return [bytes(min(LEVELS - 1, round((LEVELS - 1) * count / most)) for count in row) for row in counts]


def path_panel(samples, pixels) -> list:
    """Lines through each sample's (x, y), light; a dark spot where it ends."""
    rows = [bytearray(pixels) for _ in range(pixels)]

    def mark(x, y, level):
        column, row = int((x + EDGE) / (2 * EDGE) * pixels), int((EDGE - y) / (2 * EDGE) * pixels)
        if 0 <= column < pixels and 0 <= row < pixels:
            rows[row][column] = min(LEVELS - 1, rows[row][column] + level)

    for states in samples:
        for (x0, y0), (x1, y1) in zip(states, states[1:]):
            steps = max(1, int(max(abs(x1 - x0), abs(y1 - y0)) / (2 * EDGE) * pixels))
            for i in range(steps):
                mark(x0 + (x1 - x0) * i / steps, y0 + (y1 - y0) * i / steps, 4)
    reach = EDGE / pixels
    for states in samples:
        x, y = states[-1]
        for dx in (-reach, reach):
            for dy in (-reach, reach):
                mark(x + dx, y + dy, LEVELS)
    return [bytes(row) for row in rows]


def enlarged(panel, zoom) -> list:
    return [bytes(level for level in row for _ in range(zoom)) for row in panel for _ in range(zoom)]


def sheet(panels, row_words, column_words) -> bytes:
    """A PNG. panels: rows of panels, all of one size; words stand to the left of each row and over each column."""
    height, width = len(panels[0][0]), len(panels[0][0][0])
    columns = max(map(len, panels))
    left = max(len(lettering.columns_of(words)) for words in row_words) + 2 * GAP
    top = lettering.HEIGHT + 2 * GAP if any(column_words) else GAP
    rows = [bytearray(left + columns * (width + GAP)) for _ in range(top + len(panels) * (height + GAP))]
    for i, words in enumerate(column_words):
        lettering.write(rows, words, left + i * (width + GAP) + (width - len(lettering.columns_of(words))) // 2, GAP, INK)
    for j, line in enumerate(panels):
        y = top + j * (height + GAP)
        lettering.write(rows, row_words[j], GAP, y + (height - lettering.HEIGHT) // 2, INK)
        for i, panel in enumerate(line):
            _place(rows, panel, left + i * (width + GAP), y)
    return encode_png([bytes(row) for row in rows], 1, PALETTE)


def _place(rows, panel, left, top):
    """With a rule around it."""
    for j, line in enumerate(panel):
        rows[top + j][left : left + len(line)] = line
    for j in range(len(panel)):
        rows[top + j][left] = rows[top + j][left + len(panel[0]) - 1] = RULE
    for j in (0, len(panel) - 1):
        rows[top + j][left : left + len(panel[0])] = bytes([RULE]) * len(panel[0])
