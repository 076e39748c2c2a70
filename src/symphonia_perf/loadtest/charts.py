"""Charts as text: every function takes numbers and gives one SVG element.

They carry their meaning without colour (names stand beside bars and lines, dashes differ), have a
title and a description for screen readers, and take colours and fonts from the page's stylesheet.
"""

import math
from collections.abc import Callable, Mapping, Sequence

from symphonia_perf.errors import ConfigurationError
from symphonia_perf.loadtest._axis import (
    Scale,
    escaped,
    linear,
    logarithmic,
    seconds_label,
)
from symphonia_perf.loadtest.result import percentile

__all__ = ["bar_chart", "percentile_chart"]

# Units of the view box, which the page scales. Small, so that a phone need not shrink the text.
_WIDTH = 480
_COLOURS = 4  # classes s0 to s3 in the stylesheet
_LINE = 16  # height of a line of text
_DASHES = ("", "7 4", "2 4", "10 3 2 3")
_PERCENTILES = (50.0, 90.0, 99.0, 99.9, 99.99, 99.999)


def bar_chart(
    title: str,
    categories: Sequence[str],
    series: Mapping[str, Sequence[float]],
    *,
    log: bool = False,
    label: Callable[[float], str] = seconds_label,
) -> str:
    """Horizontal bars, grouped by category, each with its series' name and its value.

    On a logarithmic axis a value of 0 has no bar; a value that is not finite has none on either.

    ```python
    from symphonia_perf.loadtest import bar_chart

    p99 = {"before": [0.2, 1.4], "after": [0.01, 0.02]}
    svg = bar_chart("p99 latency", ["100/s", "200/s"], p99, log=True)
    ```

    Args:
        title: what is shown.
        categories: one name per group.
        series: name to one value per category.
        log: whether the axis is logarithmic.
        label: how a value is written; seconds unless given.

    Raises:
        ConfigurationError: a series that has not one value per category.
    """
    for name, values in series.items():
        if len(values) != len(categories):
            raise ConfigurationError(
                f"series[{name!r}] has {len(values)} values: expected {len(categories)}, "
                "one per category"
            )
    everything = [value for values in series.values() for value in values]
    if not everything:
        return _empty(title)
    scale = logarithmic(everything, most=4) if log else linear(everything)
    left = min(max(map(len, series)) * 8 + 14, 170)
    right = _WIDTH - max(len(label(value)) for value in everything) * 8 - 12
    body, top = [], 12
    for row, category in enumerate(categories):
        body.append(_text(0, top + 14, category, "group"))
        top += 22
        for number, (name, values) in enumerate(series.items()):
            value = values[row]
            width = scale.place(value) * (right - left) if math.isfinite(value) else 0.0
            body.append(_bar(number, name, label(value), (left, top, width)))
            top += 24
        top += 10
    grid = _vertical_grid(scale, left, right, (8, top - 6), label)
    said = "; ".join(
        f"{category}: "
        + ", ".join(f"{name} {label(values[row])}" for name, values in series.items())
        for row, category in enumerate(categories)
    )
    return _svg(title, said, top + 18, [*grid, *body])


def _bar(number: int, name: str, value: str, box: tuple[int, int, float]) -> str:
    left, top, width = box
    return (
        _text(left - 8, top + 14, name, "end")
        + f'<rect class="bar s{number % _COLOURS}" x="{left}" y="{top}" width="{width:.1f}" '
        f'height="18" rx="2"/>' + _text(left + width + 6, top + 14, value, "value")
    )


def percentile_chart(title: str, series: Mapping[str, Sequence[float]], *, log: bool = True) -> str:
    """Latency at every percentile, one line per series; the rarer, the further right.

    The horizontal axis is the logarithm of `1 / (1 - p)`, as in HdrHistogram's plots, so that p99,
    p99.9 and p99.99 have equal room. A line ends at its slowest request.

    ```python
    from symphonia_perf.loadtest import percentile_chart

    svg = percentile_chart("Latency", {"before": [0.2, 0.3, 1.9], "after": [0.004, 0.005, 0.02]})
    ```

    Args:
        title: what is shown.
        series: name to raw latencies in seconds, in any order.
        log: whether the latency axis is logarithmic.
    """
    ordered = {name: sorted(filter(math.isfinite, values)) for name, values in series.items()}
    ordered = {name: values for name, values in ordered.items() if values}
    if not ordered:
        return _empty(title)
    curves = {name: _curve(values) for name, values in ordered.items()}
    values = [value for curve in curves.values() for _, value in curve]
    scale = logarithmic(values, most=7) if log else linear(values)
    reach = max(1.0, *(place for curve in curves.values() for place, _ in curve))
    left, right, top, bottom = 62, _WIDTH - min(max(map(len, curves)) * 8 + 14, 130), 14, 250

    def x(place: float) -> float:
        return left + place / reach * (right - left)

    def y(value: float) -> float:
        return bottom - scale.place(value) * (bottom - top)

    body = _horizontal_grid(scale, left, right, y)
    for p in _PERCENTILES:
        if (place := _nines(p)) <= reach:
            body.append(_text(x(place), bottom + 20, f"p{p:g}", "tick middle"))
    ends = _apart({name: y(curve[-1][1]) for name, curve in curves.items()}, top, bottom)
    for number, (name, curve) in enumerate(curves.items()):
        points = " ".join(f"{x(place):.1f},{y(value):.1f}" for place, value in curve)
        dash = _DASHES[number % len(_DASHES)]
        style = f'class="line s{number % _COLOURS}" stroke-dasharray="{dash or "none"}"'
        body.append(f'<polyline {style} fill="none" stroke="currentColor" points="{points}"/>')
        body.append(
            f'<circle class="dot s{number % _COLOURS}" cx="{x(curve[-1][0]):.1f}" '
            f'cy="{y(curve[-1][1]):.1f}" r="3"/>'
        )
        body.append(_text(right + 8, ends[name] + 4, name, "value"))
    return _svg(title, _spoken(ordered), bottom + 32, body)


def _spoken(ordered: Mapping[str, Sequence[float]]) -> str:
    """The percentiles in words, for those who do not see the lines."""
    return "; ".join(
        f"{name}: "
        + ", ".join(f"p{p:g} {seconds_label(percentile(values, p))}" for p in (50, 90, 99, 99.9))
        for name, values in ordered.items()
    )


def _nines(p: float) -> float:
    """Where a percentile stands: 0 for 0 %, 1 for 90 %, 2 for 99 % ..."""
    return -math.log10(1 - p / 100)


def _curve(ordered: Sequence[float]) -> list[tuple[float, float]]:
    """Points of a percentile curve: 16 a decade, up to the one request in `len(ordered)`."""
    end = math.log10(max(len(ordered), 2))
    steps = math.ceil(end * 16)
    places = [end * step / steps for step in range(steps)]
    inner = [(place, percentile(ordered, max((1 - 10**-place) * 100, 1e-9))) for place in places]
    return [*inner, (end, ordered[-1])]


def _apart(wanted: Mapping[str, float], top: float, bottom: float) -> dict[str, float]:
    """Heights for the names of lines: as wanted, but a line of text from one another."""
    names = sorted(wanted, key=wanted.__getitem__)
    placed: dict[str, float] = {}
    free = top
    for name in names:
        placed[name] = max(wanted[name], free)
        free = placed[name] + _LINE
    free = bottom
    for name in reversed(names):
        placed[name] = min(placed[name], free)
        free = placed[name] - _LINE
    return placed


def _vertical_grid(
    scale: Scale,
    left: int,
    right: int,
    rows: tuple[int, int],
    label: Callable[[float], str],
) -> list[str]:
    top, bottom = rows
    parts = []
    for tick in scale.ticks:
        x = left + scale.place(tick) * (right - left)
        parts.append(f'<path class="grid" stroke="currentColor" d="M{x:.1f} {top}V{bottom}"/>')
        parts.append(_text(x, bottom + 18, label(tick), "tick middle"))
    return parts


def _horizontal_grid(scale: Scale, left: int, right: int, y: Callable[[float], float]) -> list[str]:
    parts = []
    for tick in scale.ticks:
        parts.append(
            f'<path class="grid" stroke="currentColor" d="M{left} {y(tick):.1f}H{right}"/>'
        )
        parts.append(_text(left - 8, y(tick) + 4, seconds_label(tick), "tick end"))
    return parts


def _text(x: float, y: float, text: str, style: str) -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}">{escaped(text)}</text>'


def _empty(title: str) -> str:
    return _svg(title, "No data.", 60, [_text(_WIDTH / 2, 36, "no data", "middle")])


def _svg(title: str, description: str, height: float, body: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" role="img" '
        f'viewBox="0 0 {_WIDTH} {height:.0f}">'
        f"<title>{escaped(title)}</title><desc>{escaped(description)}</desc>"
        f"{''.join(body)}</svg>"
    )
