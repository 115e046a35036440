"""Images on the page: grids of samples over training, and samples from noise to image."""

from html import escape

from .png import data_uri, encode_png, width_of
from .trajectories import Trajectories, film_rows

GRID_PIXELS = 262  # how wide a grid is drawn until it is clicked on: four stand beside one another (page.py)


def grids(run) -> str:
    """One row: the run's grids by step."""
    figures = "".join(_grid(png, f"samples of {run.name} at step {step}", f"step {step}") for step, png in run.grids)
    shown = f"{len(run.grids)} of {run.grid_count} grids, evenly chosen" if len(run.grids) < run.grid_count else f"{run.grid_count} grids"
    return f'<h3>{escape(run.name)} <small>{shown}</small></h3><div class="strip">{figures}</div>'


def film(name: str, trajectories: Trajectories) -> str:
    rows, times = film_rows(trajectories)
    png = encode_png(rows, trajectories.shape[0])
    step = f"step {trajectories.step}, " if trajectories.step >= 0 else ""
    said = ", ".join(f"{time:.3g}" for time in times)
    drawn = image(png, f"trajectories of {name}", max(480, 2 * width_of(png)))
    return f'<figure class="film"><figcaption>{escape(name)}: {step}samples (rows) from noise to image</figcaption>{drawn}<p class="note">t = {said}</p></figure>'


def _grid(png, words, caption) -> str:
    small = ' class="small"' if width_of(png) <= GRID_PIXELS else ""
    return f'<figure{small}><label title="click to enlarge"><input type="checkbox">{image(png, words)}</label><figcaption>{caption}</figcaption></figure>'


def image(png, words, width=None) -> str:
    """An <img> that holds the PNG itself; words: for who cannot see it."""
    return f'<img src="{data_uri(png)}" width="{width or width_of(png)}" alt="{escape(words)}">'
