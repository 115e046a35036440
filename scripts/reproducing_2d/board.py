"""The checkerboard (toy/checkerboard.h) as far as measures need it."""

import math

SQUARE = 1 / 0.45  # width of a square
DENSITY = 1 / (8 * SQUARE**2)
ENTROPY = -math.log(DENSITY)  # nats


def on_squares(x, y) -> bool:
    column, row = math.floor(x / SQUARE), math.floor(y / SQUARE)
    return -2 <= column < 2 and -2 <= row < 2 and (column + row) % 2 == 0


def share_off(points) -> float:
    """Of points that are where the density is zero."""
    return sum(not on_squares(x, y) for x, y in points) / len(points)


def mass_by_density(log_p) -> float:
    """The flow's mass on the squares from its density at points of the board: the mean of q/p over p is q's mass there."""
    return math.fsum(math.exp(value + ENTROPY) for value in log_p) / len(log_p)
