"""Names for entries: `cache:{resource}:{id or list}:{query}`, safe whatever the values are.

A key's parts come from the outside world, so every value is percent-encoded: it cannot bring a
separator, a brace (which Redis Cluster reads as a hash tag), a glob character or white space into a
key. Different texts make different keys.

A value is known by its text, because one id reaches a service as a `str` from the URL, as an
`ObjectId` from the driver and as an `int` from JSON, and an entry that is deleted under one form
must not live on under another: `1` and `"1"` share a key. So do what MongoDB takes for equal: `1`
and `1.0`, and one instant in any time zone, where a datetime without one is UTC. None, True and
False are not text: they are written `~none`, `~true` and `~false`, which no text can become.
"""

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from hashlib import blake2b
from math import isfinite
from reprlib import repr as short
from urllib.parse import quote
from uuid import UUID

from symphonia_perf.errors import ConfigurationError

__all__ = ["LONGEST", "KeyScheme", "Template", "can_encode", "encode"]

LONGEST = 200  # bytes of one value, and of the query; above it a digest stands in their place

_WORD = r"[A-Za-z0-9_.-]"
_PREFIX = re.compile(rf"{_WORD}+(?::{_WORD}+)*")
_NAME = re.compile(rf"{_WORD}+")
_PART = re.compile(rf"(?P<before>{_WORD}*)(?:\{{(?P<field>[^{{}}]+)\}}(?P<after>{_WORD}*))?")
_MARKS = {None: "~none", True: "~true", False: "~false"}
_LARGEST = 2.0**63  # from there no int of MongoDB is equal to a float
_KINDS = (str, int, type(None), Enum, UUID, date, float, Decimal)
_ALLOWED = (
    "str, int, bool, None, Enum, UUID, ObjectId, date, datetime, and finite float and Decimal"
)


def encode(value: object) -> str:
    """One value as a part of a key.

    ```python
    from symphonia_perf.cache.keys import encode

    assert encode("12345") == encode(12345) == "12345"
    assert encode("a:b *{c}") == "a%3Ab%20%2A%7Bc%7D"
    assert encode(None) == "~none"
    ```

    Raises:
        ConfigurationError: the value has no text that would name it again next time.
    """
    if type(value) is str and value.isascii() and value.isalnum():
        return value if len(value) <= LONGEST else _digest(value)
    while isinstance(value, Enum):
        value = value.value
    if value is None or isinstance(value, bool):
        return _MARKS[value]
    # A lone surrogate is legal in a str; it has bytes of its own, which no other text makes.
    raw = _text(value).encode("utf-8", "surrogatepass")
    text = quote(raw, safe="").replace("~", "%7E")
    return text if len(text) <= LONGEST else _digest(text)


def _text(value: object) -> str:
    """What names the value, before it is escaped."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        try:
            return int.__repr__(value)
        except ValueError as error:  # more digits than Python writes
            raise ConfigurationError(f"an int that cannot be part of a key: {error}") from error
    if isinstance(value, datetime):
        return _instant(value).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    # NaN is not equal to itself, so nothing stored under it could be asked for again.
    if isinstance(value, float) and isfinite(value):
        # A shell writes every number as a double: 7.0, which the service asks for by 7.
        is_whole = value.is_integer() and abs(value) < _LARGEST
        return int.__repr__(int(value)) if is_whole else float.__repr__(value)
    if isinstance(value, UUID) or (isinstance(value, Decimal) and value.is_finite()):
        return str(value)
    if _is_object_id(type(value)):
        return str(value)
    raise ConfigurationError(
        f"{short(value)} ({type(value).__name__}) cannot be part of a key; allowed are {_ALLOWED}"
    )


def _instant(value: datetime) -> datetime:
    """The same in UTC: drivers of MongoDB give it so, with the zone or without, and take it so."""
    if value.utcoffset() is None:
        return value.replace(tzinfo=UTC)
    try:
        return value.astimezone(UTC)
    except OverflowError:  # of the first or last day that there is, where no zone but this has it
        return value


def can_encode(kind: type) -> bool:
    """Whether some value of this class, or of a class it is a base of, can be part of a key."""
    return (
        kind is object
        or issubclass(kind, _KINDS)
        or _is_object_id(kind)
        or getattr(kind, "_is_protocol", False)
        or inspect.isabstract(kind)
    )


def _is_object_id(kind: type) -> bool:
    # By name: a cache must not import a database driver.
    return any(
        each.__name__ == "ObjectId" and each.__module__ == "bson.objectid" for each in kind.__mro__
    )


def _digest(text: str) -> str:
    # 160 bits: finding two texts with one digest takes an attacker 2**80 attempts.
    return f"~{blake2b(text.encode(), digest_size=20).hexdigest()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyScheme:
    """Where a cache's keys live: under a prefix, and under a version of the values' shape.

    Two caches in one store are apart if neither `start` begins with the other: `shop-eu` beside
    `shop`, and `v2` beside `v1`. Under `shop` lie `shop:eu` and `shop:v2` as well, so its `clear()`
    empties them, and its key `v2:plan:1` is the other's `plan:1`.

    ```python
    from symphonia_perf.cache import KeyScheme

    assert KeyScheme().full("plan:12345") == "cache:plan:12345"
    assert KeyScheme(prefix="shop", version=2).full("plans:list") == "shop:v2:plans:list"
    ```

    Raises:
        ConfigurationError: a prefix with a character that has a meaning in keys, a version below 0.
    """

    prefix: str = "cache"  # default "cache"
    version: int | None = None  # raise it when stored values change their shape; default none

    def __post_init__(self) -> None:
        """Check both."""
        prefix: object = self.prefix
        if not isinstance(prefix, str) or not _PREFIX.fullmatch(prefix):
            raise ConfigurationError(
                f"prefix={prefix!r}: expected letters, digits, _ . - and : between words"
            )
        version = self.version
        if version is not None and (type(version) is not int or version < 0):
            raise ConfigurationError(f"version={version!r}: expected None or an int from 0")

    @property
    def start(self) -> str:
        """What every key begins with, the last separator included."""
        return f"{self.prefix}:" if self.version is None else f"{self.prefix}:v{self.version}:"

    @property
    def tags(self) -> str:
        """What the key of every tag's generation begins with; no template makes such a key."""
        return f"{self.start}~tag:"

    def full(self, key: str) -> str:
        """The key as the store has it."""
        return self.start + key


@dataclass(frozen=True, slots=True)
class _Part:
    """A piece of a template: literal text, a field, literal text; or literal text alone."""

    before: str
    field: str | None = None
    after: str = ""

    def overlaps(self, other: "_Part") -> bool:
        """Whether some text fits both."""
        if self.field is None and other.field is None:
            return self.before == other.before
        if self.field is None:
            return other.overlaps(self)
        if other.field is None:
            room = len(other.before) >= len(self.before) + len(self.after)
            starts = other.before.startswith(self.before)
            return room and starts and other.before.endswith(self.after)
        starts = _either(str.startswith, self.before, other.before)
        return starts and _either(str.endswith, self.after, other.after)


def _either(test: Callable[[str, str], bool], one: str, other: str) -> bool:
    return test(one, other) or test(other, one)


class Template:
    """A pattern for keys, parsed once: `plan:{plan_id}`, `carriers:list:?status={status}`.

    Parts are separated by `:`, each holds at most one field, and the first is the resource. A last
    part that begins with `?` is the query: `name=value` pairs joined by `&`, sorted by name in the
    key whatever their order here, and a digest when they are longer than 200 bytes.

    ```python
    from symphonia_perf.cache import Template

    orders = Template("orders:list:client-{client_id}:?status={status}&page={page}")
    assert orders.fields == ("client_id", "page", "status")
    key = orders.key(client_id=123, status="IN TRANSIT", page=1)
    assert key == "orders:list:client-123:?page=1&status=IN%20TRANSIT"
    ```

    Raises:
        ConfigurationError: the pattern is not of this form; the message names the part.
    """

    __slots__ = ("_parts", "_query", "_start", "_weave", "fields", "pattern")

    def __init__(self, pattern: str) -> None:
        if not isinstance(pattern, str):
            raise ConfigurationError(f"template {pattern!r}: expected a text such as 'plan:{{id}}'")
        path, mark, query = pattern.partition(":?")
        self.pattern = pattern
        parts = [_part(text, pattern) for text in path.split(":")]
        if parts[0].field is not None:
            raise ConfigurationError(f"template {pattern!r}: begins with a field, not a resource")
        pairs = _pairs(query, pattern) if mark else []
        self._query = [name for name, _ in pairs]
        self._parts = (*parts, *(part for _, part in pairs))
        leads = [
            *(":" if index else "" for index in range(len(parts))),
            *(f"{'&' if index else ':?'}{name}=" for index, name in enumerate(self._query)),
        ]
        self.fields: tuple[str, ...] = tuple(
            part.field for part in self._parts if part.field is not None
        )
        self._start, *afters = _literals(leads, self._parts)
        self._weave = tuple(enumerate(afters))
        if len(set(self.fields)) < len(self.fields):
            raise ConfigurationError(f"template {pattern!r}: a field stands in it twice")

    def __repr__(self) -> str:
        return f"Template({self.pattern!r})"

    @property
    def resource(self) -> str:
        """The first part: what its keys are about."""
        return self._parts[0].before

    def key(self, /, **values: object) -> str:
        """The key for these values, one for each field.

        Raises:
            ConfigurationError: a value is missing, unknown, or cannot be part of a key.
        """
        if values.keys() != set(self.fields):
            raise ConfigurationError(
                f"template {self.pattern!r} takes {list(self.fields)}, not {list(values)}"
            )
        return self.fill([values[field] for field in self.fields])

    def fill(self, values: Sequence[object]) -> str:
        """The same from values in the order of `fields`: what a cached function does per call."""
        key = self._start
        for index, after in self._weave:
            try:
                key += encode(values[index]) + after
            except ConfigurationError as error:
                raise ConfigurationError(f"{self.fields[index]}: {error}") from None
        if not self._query:
            return key
        # Neither a literal nor a value holds the mark, so it stands where the template has it.
        path, mark, query = key.partition(":?")
        return key if len(query) <= LONGEST else path + mark + _digest(query)

    def overlaps(self, other: "Template") -> bool:
        """Whether some values give both templates one key."""
        mine, theirs = self._parts, other._parts  # noqa: SLF001 - another template's
        if self._query != other._query or len(mine) != len(theirs):  # noqa: SLF001 - the same
            return False
        return all(one.overlaps(two) for one, two in zip(mine, theirs, strict=True))


def _literals(leads: Sequence[str], parts: Sequence[_Part]) -> list[str]:
    """The text before the first field, and the text after each."""
    texts = [""]
    for lead, part in zip(leads, parts, strict=True):
        texts[-1] += lead + part.before
        if part.field is not None:
            texts.append(part.after)
    return texts


def _part(text: str, pattern: str) -> _Part:
    match = _PART.fullmatch(text)
    if not text or match is None:
        raise ConfigurationError(
            f"template {pattern!r}: part {text!r} is not letters, digits, _ . - around at most one"
            " {field}"
        )
    field = match["field"]
    if field is not None and not field.isidentifier():
        raise ConfigurationError(f"template {pattern!r}: {field!r} is not the name of a parameter")
    return _Part(match["before"], field, match["after"] or "")


def _pairs(text: str, pattern: str) -> list[tuple[str, _Part]]:
    pairs: dict[str, _Part] = {}
    for pair in text.split("&"):
        name, equals, value = pair.partition("=")
        if not equals or not _NAME.fullmatch(name):
            raise ConfigurationError(f"template {pattern!r}: {pair!r} is not name=value")
        if name in pairs:
            raise ConfigurationError(f"template {pattern!r}: {name!r} stands in the query twice")
        pairs[name] = _part(value, pattern)
    return sorted(pairs.items())
