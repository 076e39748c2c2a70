"""Scales, ticks and labels for charts and tables: arithmetic and text only."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["Scale", "escaped", "linear", "logarithmic", "number_label", "seconds_label"]

# XML 1.0 section 2.2: no escape makes these legal.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Where a value stands between 0 and 1, and which values get a tick."""

    place: Callable[[float], float]
    ticks: tuple[float, ...]


def linear(values: Sequence[float]) -> Scale:
    """From 0 to the next round number above the largest value."""
    largest = max(_usable(values), default=0.0)
    if largest <= 0:
        largest = 1.0
    power = 10 ** math.floor(math.log10(largest))
    step = next(power * part for part in (0.25, 0.5, 1.0, 2.5) if largest <= 4 * power * part)
    count = math.ceil(largest / step)
    top = count * step
    return Scale(
        place=lambda value: min(max(value / top, 0.0), 1.0),
        ticks=tuple(number * step for number in range(count + 1)),
    )


def logarithmic(values: Sequence[float], *, most: int) -> Scale:
    """Whole decades around all values above 0; what is 0 or less stands at the lower end.

    Args:
        values: what the scale must hold.
        most: steps between ticks at most; beyond that, decades are left out.
    """
    positive = [value for value in _usable(values) if value > 0] or [1.0]
    low = math.floor(math.log10(min(positive)))
    high = max(math.ceil(math.log10(max(positive))), low + 1)
    stride = math.ceil((high - low) / most)
    return Scale(
        place=lambda value: (
            min(max((math.log10(value) - low) / (high - low), 0.0), 1.0) if value > 0 else 0.0
        ),
        ticks=tuple(10.0**power for power in range(low, high + 1, stride)),
    )


def _usable(values: Sequence[float]) -> list[float]:
    # Beyond that, a step or a tick would no longer be a finite number above 0.
    return [value for value in values if value == 0 or 1e-300 < abs(value) < 1e300]


def seconds_label(value: float) -> str:
    """A duration in the unit a person would choose, to three figures: `1.25 s`, `340 ms`."""
    if not math.isfinite(value):
        return number_label(value)
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if abs(value) >= 0.9995 * size:
            return f"{number_label(value / size)} {unit}"
    return f"{number_label(value * 1e6)} µs" if value else "0"


def number_label(value: float) -> str:
    """A number to three figures, with thousands set apart: `12,400`, `3.05`, `0`."""
    if math.isnan(value):
        return "\N{EN DASH}"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if value == 0:
        return "0"
    if not 1e-4 <= abs(value) < 1e15:
        return f"{value:.3g}"
    digits = 2 - math.floor(math.log10(abs(value)))
    text = f"{round(value, digits):,.{max(digits, 0)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def escaped(text: str) -> str:
    """Text that stands for itself in HTML and XML; what neither can say becomes U+FFFD."""
    return escape(_NO_XML.sub("\N{REPLACEMENT CHARACTER}", text))
