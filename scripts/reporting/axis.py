"""One axis of a chart: a range of values, where each stands, and ticks at round numbers."""

import math
from dataclasses import dataclass


@dataclass
class Axis:
    low: float
    high: float
    log: bool
    ticks: list

    def share(self, value: float) -> float:
        """0 at low, 1 at high."""
        if self.log:
            return (math.log(value) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))
        return (value - self.low) / (self.high - self.low)


def axis_for(values, log=False) -> Axis:
    """Covers the finite values (log: the positive ones) with a little air."""
    usable = [value for value in values if shown(value, log)]
    low, high = (min(usable), max(usable)) if usable else (1.0, 1.0)
    if log:
        low, high = (low, high) if high > low * 1.01 else (low / 2, high * 2)
        air = (high / low) ** 0.04
        low, high = low / air, high * air
        return Axis(low, high, True, log_ticks(low, high))
    if high - low <= 1e-9 * abs(high):
        low, high = low - (abs(low) / 2 or 1), high + (abs(high) / 2 or 1)
    air = 0.04 * (high - low)
    # Values that are all of one sign do not get an axis that crosses zero.
    low, high = (max(0.0, low - air) if low >= 0 else low - air), high + air
    return Axis(low, high, False, linear_ticks(low, high))


def shown(value, log) -> bool:
    return value is not None and math.isfinite(value) and (value > 0 or not log)


def linear_ticks(low, high) -> list:
    """The multiples of 1, 2 or 5 times a power of ten that are in the range: the fewest that are at least four."""
    power = math.floor(math.log10(high - low))
    for factor, exponent in ((2, power), (1, power), (5, power - 1), (2, power - 1), (1, power - 1), (5, power - 2)):
        step = factor * 10.0**exponent
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first >= 3:
            break
    return [round(i * step, max(0, -exponent)) for i in range(first, last + 1)]


def log_ticks(low, high) -> list:
    """Powers of ten; with 2 and 5 times them where those are fewer than three, then 3 and 7; then a linear axis' ticks."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for factors in ((1,), (1, 2, 5), (1, 2, 3, 5, 7)):
        ticks = [factor * 10.0**power for power in range(first, last + 1) for factor in factors]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) >= 3:
            return ticks[:: max(1, len(ticks) // 7)]
    return [tick for tick in linear_ticks(low, high) if tick > 0]


def tick_labels(ticks) -> list:
    """As short as they can be and still differ."""
    labels = []
    for digits in range(3, 15):
        labels = [number_text(tick, digits) for tick in ticks]
        if len(set(labels)) == len(labels):
            break
    return labels


def number_text(value, digits=4) -> str:
    """Short: 12000 is "12k", 0.00001 is "1e-05"."""
    if value is None or not math.isfinite(value):
        return "" if value is None else str(value)
    if value == 0:
        return "0"
    size = abs(value)
    for power, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if size >= power:
            scale = 1e3 if unit == "k" else power
            return f"{value / scale:.{digits}g}{unit}"
    return f"{value:.{digits}g}"
