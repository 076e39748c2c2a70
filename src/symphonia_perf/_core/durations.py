"""Durations: seconds everywhere, text such as `15m` only from the environment and the CLI."""

import math
import re
from datetime import timedelta

from symphonia_perf.errors import ConfigurationError
from symphonia_perf.typing import Seconds

__all__ = ["parse_duration", "seconds"]

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_TEXT = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>ms|s|m|h|d)?", re.ASCII)


def seconds(value: Seconds, *, option: str, zero: bool = False) -> float:
    """A duration as a finite float of seconds.

    Args:
        value: seconds, or a `timedelta`.
        option: how the setting is called, for the error message.
        zero: whether 0 is allowed.

    Raises:
        ConfigurationError: not a duration, not finite, negative, or 0 where that has no meaning.
    """
    wanted = f"{'0 or more' if zero else 'more than 0'} seconds (a number or a timedelta)"
    if isinstance(value, timedelta):
        number = value.total_seconds()
    elif isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigurationError(f"{option}={value!r}: expected {wanted}")
    else:
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
    if not math.isfinite(number) or number < 0 or (number == 0 and not zero):
        raise ConfigurationError(f"{option}={value!r}: expected {wanted}")
    return number


def parse_duration(text: str, *, option: str) -> float:
    """Seconds from `"250ms"`, `"45"`, `"15m"`, `"1.5h"` or `"2d"`.

    Raises:
        ConfigurationError: the text is none of these.
    """
    match = _TEXT.fullmatch(text.strip())
    if match is None:
        raise ConfigurationError(
            f"{option}={text!r}: expected a duration such as 250ms, 45s, 15m, 1.5h or 2d"
        )
    return float(match["number"]) * _UNITS[match["unit"] or "s"]
