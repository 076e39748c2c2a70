"""Commands as bytes, checked on the way: the fast path of what `_arguments` does."""

from collections.abc import Callable, Sequence

import hiredis

from symphonia_perf.redis._arguments import BY_ARGUMENTS, command_name, pack
from symphonia_perf.redis.commands import Argument

__all__ = [
    "EXEC",
    "FREQUENT",
    "MULTI",
    "PLAIN",
    "is_plain",
    "pack_words",
    "packed",
    "packed_shared",
]

pack_words: Callable[[tuple[Argument, ...]], bytes] = hiredis.pack_command  # type: ignore[assignment] # its stub knows one word
"""The bytes of one command; in C, a tenth of the time it takes in Python."""

# What hiredis packs exactly as we promise. Others (subclasses, numpy) take the slower way, and
# integers a look: over one with more digits than Python writes (4,300), hiredis 3.5 crashes.
PLAIN = frozenset({str, bytes, float})
"""Types of arguments that need no second look."""

FREQUENT = frozenset(
    ("DEL", "EVALSHA", "EXISTS", "EXPIRE", "GET", "HGET", "HMGET", "HSET", "INCR", "MGET", "SET")
)
"""Known to be harmless on a shared connection: these need no second look at their name."""

MULTI = pack_words(("MULTI",))
EXEC = pack_words(("EXEC",))

_PLAIN_OR_INT = PLAIN | {int}
_LARGEST = 2**64
_LARGE = 2**20  # bytes; hiredis copies an argument twice: 125 ms for 64 MB, joined 35 ms


def is_plain(args: Sequence[Argument]) -> bool:
    """Whether hiredis packs these as promised, and quickly."""
    for argument in args:
        kind = type(argument)
        if kind is int and not -_LARGEST < argument < _LARGEST:  # type: ignore[operator]  # an int
            return False
        if kind is bytes and len(argument) > _LARGE:  # type: ignore[arg-type]  # bytes
            return False
    return _PLAIN_OR_INT.issuperset(map(type, args))


def packed_shared(args: Sequence[Argument]) -> bytes:
    """The bytes of one command for a connection that others use too, most quickly of a usual one.

    Raises:
        ConfigurationError: as `pack` raises it.
    """
    try:
        if args[0] in FREQUENT and (type(args[1]) in PLAIN if len(args) == 2 else is_plain(args)):
            return pack_words(tuple(args))
    except (IndexError, TypeError, UnicodeEncodeError):
        pass  # below it is named
    return packed(args, may_block=False)


def packed(args: Sequence[Argument], *, may_block: bool) -> bytes:
    """The bytes of one command.

    Raises:
        ConfigurationError: as `pack` raises it.
    """
    if args and type(args) is not str and is_plain(args):
        # Cached by name; it is what refuses commands that a shared connection cannot take.
        name = command_name(args[0], may_block)
        if name not in BY_ARGUMENTS:
            try:
                return pack_words(tuple(args))
            except UnicodeEncodeError:
                pass  # pack() names the argument
    name, *words = pack(args, may_block=may_block)
    if not any(len(word) > _LARGE for word in words):
        return pack_words((name, *words))
    pieces = [b"*%d\r\n" % (len(words) + 1)]
    for word in (name.encode(), *words):
        pieces += (b"$%d\r\n" % len(word), word, b"\r\n")
    return b"".join(pieces)
