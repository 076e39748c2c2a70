"""The values that an option can have: as text in a URI, and as a value in Python.

PyMongo only warns about a value in a URI that it cannot use, and goes on with its own default;
these raise. `label` is the option as the user wrote it, for the message.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast
from urllib.parse import unquote_plus

from symphonia_perf._core.durations import seconds
from symphonia_perf._core.env import nearest
from symphonia_perf.errors import ConfigurationError
from symphonia_perf.typing import Seconds

__all__ = [
    "Boolean",
    "Choice",
    "Choices",
    "Domain",
    "Duration",
    "FieldDomain",
    "Integer",
    "Properties",
    "TagSet",
    "Text",
    "WriteConcern",
    "decode",
    "refusal",
]

_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,9}")
_SHOWN = 100  # characters of a wrong value that a message repeats
_INT32 = 2**31 - 1
_LONGEST = 999_999.999  # seconds; PyMongo refuses 10**9 ms and more
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


def refusal(
    label: str, value: object, allowed: str, *, near: str | None = None
) -> ConfigurationError:
    """The error for a value outside its domain: option, value, what is allowed."""
    shown = repr(value)
    if len(shown) > _SHOWN:
        shown = f"{shown[:_SHOWN]}..."
    hint = f"; did you mean {near!r}?" if near else ""
    return ConfigurationError(f"{label}={shown}: expected {allowed}{hint}")


def decode(text: str, label: str) -> str:
    """`text` without percent-escapes; `+` is a space, as PyMongo reads it.

    Raises:
        ConfigurationError: a percent sign that is no escape, or bytes that are not UTF-8. The
            message does not repeat the text, which may be a password.
    """
    if _BAD_ESCAPE.search(text):
        raise ConfigurationError(f"{label}: a percent sign of its own must be written %25")
    try:
        return unquote_plus(text, errors="strict")
    except UnicodeDecodeError:
        raise ConfigurationError(f"{label}: percent-escapes must be UTF-8") from None


class Domain(Protocol):
    """The values of an option, as text in a URI."""

    def parse(self, text: str, label: str) -> object:
        """The value of the percent-decoded `text`, or ConfigurationError under `label`."""
        ...


class FieldDomain(Domain, Protocol):
    """A domain that also serves a field of `PoolOptions`."""

    def check(self, value: object, label: str) -> object:
        """`value` in its one normal form, or ConfigurationError under `label`."""
        ...


@dataclass(frozen=True, slots=True)
class Boolean:
    def parse(self, text: str, label: str) -> bool:
        if text not in {"true", "false"}:
            near = nearest(text, ("true", "false"))
            raise refusal(label, text, "true or false", near=near)
        return text == "true"

    def check(self, value: object, label: str) -> bool:
        if not isinstance(value, bool):
            raise refusal(label, value, "True or False")
        return value


@dataclass(frozen=True, slots=True)
class Integer:
    low: int
    high: int = _INT32
    unset: int | None = None  # a value below `low` that means "not set"

    @property
    def allowed(self) -> str:
        also = f"{self.unset} or " if self.unset is not None else ""
        limit = f"from {self.low} to {self.high}" if self.high < _INT32 else f">= {self.low}"
        return f"{also}a whole number {limit}"

    def parse(self, text: str, label: str) -> int:
        if not _WHOLE.fullmatch(text):
            raise refusal(label, text, self.allowed)
        return self.check(int(text), label)

    def check(self, value: object, label: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise refusal(label, value, self.allowed)
        if value != self.unset and not self.low <= value <= self.high:
            raise refusal(label, value, self.allowed)
        return value


@dataclass(frozen=True, slots=True)
class Duration:
    low: float = 0.001  # seconds; the driver counts in whole milliseconds
    endless: bool = False  # whether None says "no limit"
    zero: bool = False  # whether 0 says so in a URI

    def parse(self, text: str, label: str) -> float | None:
        if text == "0" and self.zero:
            return None
        value = int(text) / 1000 if _WHOLE.fullmatch(text) else -1
        if not self.low <= value <= _LONGEST:
            no_limit = "0 (no limit) or " if self.zero else ""
            low, high = round(self.low * 1000), round(_LONGEST * 1000)
            raise refusal(label, text, f"{no_limit}a whole number of ms from {low} to {high}")
        return value

    def check(self, value: object, label: str) -> float | None:
        if value is None and self.endless:
            return None
        no_limit = "None (no limit) or " if self.endless else ""
        allowed = f"{no_limit}{self.low:g} to {_LONGEST} seconds (a number or a timedelta)"
        try:
            number = seconds(cast("Seconds", value), option=label, zero=self.low == 0)
        except ConfigurationError:
            raise refusal(label, value, allowed) from None
        if not self.low <= number <= _LONGEST:
            raise refusal(label, value, allowed)
        return round(number, 3)


@dataclass(frozen=True, slots=True)
class Choice:
    words: tuple[str, ...]

    def parse(self, text: str, label: str) -> str:
        return self.check(text, label)

    def check(self, value: object, label: str) -> str:
        if not isinstance(value, str) or value not in self.words:
            near = nearest(value, self.words) if isinstance(value, str) else None
            raise refusal(label, value, f"one of {', '.join(self.words)}", near=near)
        return value


@dataclass(frozen=True, slots=True)
class Choices:
    words: tuple[str, ...]

    def parse(self, text: str, label: str) -> tuple[str, ...]:
        return self.check(tuple(text.split(",")), label)

    def check(self, value: object, label: str) -> tuple[str, ...]:
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise refusal(label, value, f"a tuple of {', '.join(self.words)}")
        for word in value:
            Choice(self.words).check(word, label)
        if len(set(value)) < len(value):
            raise refusal(label, value, "each of them once")
        return tuple(value)


@dataclass(frozen=True, slots=True)
class Text:
    """Printable text of at most `limit` bytes; None, where `optional`, is "not sent"."""

    limit: int = 4096
    optional: bool = False
    secret: bool = False  # a message does not repeat it

    def parse(self, text: str, label: str) -> str | None:
        return self.check(text, label)

    def check(self, value: object, label: str) -> str | None:
        if value is None and self.optional:
            return None
        if isinstance(value, str) and value.isprintable() and 0 < len(value.encode()) <= self.limit:
            return value
        also = "None, or " if self.optional else ""
        value = "***" if self.secret else value
        raise refusal(label, value, f"{also}printable text of 1 to {self.limit} bytes")


@dataclass(frozen=True, slots=True)
class WriteConcern:
    # A number written as text would be taken for the name of a custom write concern.
    name = re.compile(r"[^\W\d][\w.-]*")
    allowed = '"majority", a whole number from 0 to 50, or the name of a custom write concern'

    def parse(self, text: str, label: str) -> int | str:
        return self.check(int(text) if _WHOLE.fullmatch(text) else text, label)

    def check(self, value: object, label: str) -> int | str:
        if isinstance(value, str):
            near = nearest(value, ("majority",), likeness=0.8)
            if self.name.fullmatch(value) and near in {None, value}:
                return value
            raise refusal(label, value, self.allowed, near=near)
        # 50 is the largest replica set.
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 50:
            raise refusal(label, value, self.allowed)
        return value


@dataclass(frozen=True, slots=True)
class TagSet:
    """`dc:east,rack:1`; the empty one matches any member. Its text comes undecoded."""

    def parse(self, text: str, label: str) -> tuple[tuple[str, str], ...]:
        tags = []
        for tag in text.split(",") if text else ():
            key, _, value = tag.partition(":")
            if not key or not value or ":" in value:
                raise refusal(label, text, "tags such as dc:east,rack:1, or nothing")
            tags.append((decode(key, label), decode(value, label)))
        return tuple(tags)


@dataclass(frozen=True, slots=True)
class Properties:
    names = (
        "AWS_SESSION_TOKEN",
        "CANONICALIZE_HOST_NAME",
        "ENVIRONMENT",
        "SERVICE_HOST",
        "SERVICE_NAME",
        "SERVICE_REALM",
        "TOKEN_RESOURCE",
    )
    canonicalize = Choice(("true", "false", "none", "forward", "forwardAndReverse"))

    def parse(self, text: str, label: str) -> str:
        for item in text.split(","):
            name, _, value = item.partition(":")
            if not value:  # no echo: this may be a piece of a token
                raise ConfigurationError(f"{label}: expected NAME:value pairs between commas")
            if name not in self.names:
                raise ConfigurationError(
                    f"{label}: unknown property; expected {', '.join(self.names)}"
                )
            if name == "CANONICALIZE_HOST_NAME":
                self.canonicalize.check(value, f"{label} {name}")
        return text
