"""Somebody else's text in our messages: what the driver and the server said, in short."""

import re

__all__ = ["bounded", "driver_words"]

_LONGEST = 400  # characters of somebody else's text that one of our messages holds
# A page of what the driver knows of every server, or the reply that it has quoted already. The
# cause of our error still has it.
_DUMP = re.compile(
    r", Topology Description: .*|, full error: .*| \(configured timeouts: [^)]*\)", re.DOTALL
)
_WAITED = re.compile(r", Timeout: ([\d.]+)s")


def bounded(text: str, longest: int = _LONGEST) -> str:
    """`text`, or its beginning and how much was left out."""
    left = len(text) - longest
    return text if left <= 0 else f"{text[:longest]}... and {left} more characters"


def driver_words(said: object) -> str:
    """What the driver or the server said, without the dumps that the driver ends it with."""
    return bounded(_WAITED.sub(r" (waited \1 s)", _DUMP.sub("", str(said))))
