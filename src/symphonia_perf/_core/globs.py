"""Redis's glob patterns, for what keeps its names in memory."""

from typing import TypeAlias

__all__ = ["Glob"]

_One: TypeAlias = frozenset[int] | None  # the bytes that one place may hold; None: any number
_ANY = frozenset(range(256))


class Glob:
    r"""A pattern as Redis reads it in PSUBSCRIBE, KEYS and SCAN, byte by byte.

    `*` stands for any bytes, `?` for one, `[a-z]` for one of these, `[^ab]` for one that is
    neither, and `\` makes the next byte stand for itself.

    It looks at each byte of a text at most once per byte of the pattern, whatever the two are; a
    regular expression with many `.*` would not.

    ```python
    from symphonia_perf._core.globs import Glob

    assert Glob(b"orders:*:[ab]?").matches(b"orders:42:a1")
    assert not Glob(b"orders:*").matches(b"order:42")
    ```
    """

    __slots__ = ("_places",)

    def __init__(self, pattern: bytes) -> None:
        self._places = _parse(pattern)

    def matches(self, text: bytes) -> bool:
        """Whether the whole text is of this form."""
        places, end = self._places, len(self._places)
        at = place = start = 0  # `start`: where the text goes on after the last star
        star = -1
        while at < len(text):
            if place < end and places[place] is None:
                star, start = place, at
                place += 1
            elif place < end and text[at] in (places[place] or ()):
                place += 1
                at += 1
            elif star >= 0:
                # What a star before this one took could only grow in vain.
                start += 1
                place, at = star + 1, start
            else:
                return False
        return all(one is None for one in places[place:])


def _parse(pattern: bytes) -> list[_One]:
    places: list[_One] = []
    at = 0
    while at < len(pattern):
        sign = pattern[at : at + 1]
        at += 1
        if sign == b"*":
            places.append(None)
        elif sign == b"?":
            places.append(_ANY)
        elif sign == b"[":
            allowed, at = _parse_class(pattern, at)
            places.append(allowed)
        else:
            if sign == b"\\" and at < len(pattern):
                sign = pattern[at : at + 1]
                at += 1
            places.append(frozenset(sign))
    return places


def _parse_class(pattern: bytes, at: int) -> tuple[frozenset[int], int]:
    """What stands in brackets, from behind the opening one; without a closing one, to the end."""
    refuses = pattern[at : at + 1] == b"^"
    at += refuses
    named: set[int] = set()
    while at < len(pattern) and pattern[at : at + 1] != b"]":
        if pattern[at : at + 1] == b"\\" and at + 1 < len(pattern):
            named.add(pattern[at + 1])
            at += 2
        elif pattern[at + 1 : at + 2] == b"-" and at + 2 < len(pattern):
            first, last = sorted((pattern[at], pattern[at + 2]))
            named.update(range(first, last + 1))
            at += 3
        else:
            named.add(pattern[at])
            at += 1
    return (_ANY - named if refuses else frozenset(named)), at + 1
