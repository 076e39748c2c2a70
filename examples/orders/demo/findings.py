"""What the measurements say, as the rows of the study's own table: pure, no I/O."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from examples.orders.demo.measure import VARIANTS, Load, Measured, Scale
from symphonia_perf.loadtest import CleanRate, Result

__all__ = ["Findings", "Row", "change", "milliseconds"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table; the figures as text with their unit."""

    section: str
    label: str
    before: str
    after: str
    change: str
    study: str = ""  # what the study expected of all its steps, where it says so


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """All that one run of the demo measured."""

    loads: Sequence[Load]  # from the lightest
    clean: dict[str, CleanRate]  # variant -> what it can carry
    scale: Scale

    @property
    def rows(self) -> list[Row]:
        """The table, from top to bottom."""
        return _rows(self.loads, self.clean)


def _rows(loads: Sequence[Load], clean: dict[str, CleanRate]) -> list[Row]:
    return [
        *(_latency(load, p) for load in loads for p in (50, 95, 99)),
        Row(
            section="Capacity",
            label="highest clean rate",
            before=_rate(clean["before"]),
            after=_rate(clean["after"]),
            change=change(clean["before"].rate, clean["after"].rate),
            study="120 → 350/s",
        ),
        *_per_request(loads[0]),
        *(_errors(load) for load in loads),
    ]


def change(before: float, after: float) -> str:
    """`after` against `before` in words: `12.5x less`, `3.10x more`, `same`."""
    if not (math.isfinite(before) and math.isfinite(after)):
        return ""
    if math.isclose(before, after, rel_tol=0.05, abs_tol=1e-12):
        return "same"
    if not before or not after:
        return ""
    ratio, word = (before / after, "less") if after < before else (after / before, "more")
    return f"{_figure(ratio)}x {word}"


def _latency(load: Load, p: int) -> Row:
    before, after = (load.measured[name].result for name in VARIANTS)
    return Row(
        section=f"Latency at {load.rate:g}/s",
        label=f"p{p}",
        before=milliseconds(before, p),
        after=milliseconds(after, p),
        change=change(before.percentile(p), after.percentile(p)),
        study="380 → 150 ms" if p == 95 else "",
    )


def milliseconds(result: Result, p: float) -> str:
    """A percentile as text; `>` where it fell among failed requests, which rank as the timeout."""
    value = result.percentile(p)
    answered = (
        latency
        for latency, outcome in zip(result.latencies, result.outcomes, strict=True)
        if 100 <= outcome < 400
    )
    return f"{'> ' if value > max(answered, default=0.0) else ''}{_figure(value * 1000)} ms"


def _figure(value: float) -> str:
    """Three significant digits and no exponent: `0.93`, `12.2`, `2,090`."""
    if not value or not math.isfinite(value):
        return f"{value:g}"
    digits = 2 - math.floor(math.log10(abs(value)))
    return f"{round(value, digits):,.{max(digits, 0)}f}"


def _rate(found: CleanRate) -> str:
    if not found.rate:
        lowest = min((trial.rate for trial in found.trials), default=math.inf)
        return f"< {_figure(lowest)}/s"
    # Where the generator or the time ran out first, the service may carry more.
    return f"{'' if found.limited_by == 'service' else '≥ '}{_figure(found.rate)}/s"


def _per_request(load: Load) -> list[Row]:
    measures: list[tuple[str, Callable[[Measured], float], Callable[[float], str], str]] = [
        (
            "database time",
            lambda one: one.spent.database_seconds / one.requests,
            lambda value: f"{_figure(value * 1000)} ms",
            "125 → 60 ms",
        ),
        (
            "database operations",
            lambda one: one.spent.operations / one.requests,
            _figure,
            "60-80 % less",
        ),
        (
            "bytes from MongoDB",
            lambda one: one.spent.bytes_out / one.requests,
            lambda value: f"{_figure(value / 1000)} kB",
            "60 % less",
        ),
    ]
    before, after = (load.measured[name] for name in VARIANTS)
    return [
        Row(
            section=f"Per request at {load.rate:g}/s",
            label=label,
            before=show(figure(before)),
            after=show(figure(after)),
            change=change(figure(before), figure(after)),
            study=study,
        )
        for label, figure, show, study in measures
    ]


def _errors(load: Load) -> Row:
    before, after = (load.measured[name].result.error_rate for name in VARIANTS)
    return Row(
        section="Failed requests",
        label=f"at {load.rate:g}/s",
        before=f"{before:.1%}",
        after=f"{after:.1%}",
        change=change(before, after),
        study="1.2 → 0.3 %",
    )
