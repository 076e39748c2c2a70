"""Removes keys by their form: a walk through all keys of a server, or of a cluster's primaries."""

from binascii import crc_hqx
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import Any, TypeAlias

from symphonia_perf.errors import CommandError
from symphonia_perf.redis.commands import Argument, Commands

__all__ = ["remove_matching"]

_SLICE = 500  # keys that SCAN looks at in one go, which is how long it holds up other clients
_SLOTS = 16_384
# SCAN names no key, so a cluster client does not know where to send it; a script goes to its key.
_SCAN = "return redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3])"
_Command: TypeAlias = Sequence[Argument]


async def remove_matching(commands: Commands, pattern: str) -> int:
    """Remove the keys of this form, in slices, never by KEYS; how many there were.

    Raises:
        StoreError: as `execute_many` raises it.
    """

    def scan(cursor: bytes) -> _Command:
        return ("SCAN", cursor, "MATCH", pattern, "COUNT", _SLICE)

    try:
        return await _walk(commands, scan, lambda keys: [("UNLINK", *keys)])
    except CommandError:
        # A client of a cluster refuses a command that is for every node.
        routes = await _routes(commands)
        if not routes:
            raise
    removed = 0
    for route in routes:

        def scan_there(cursor: bytes, route: str = route) -> _Command:
            return ("EVAL", _SCAN, 1, route, cursor, pattern, _SLICE)

        removed += await _walk(commands, scan_there, lambda keys: [("UNLINK", key) for key in keys])
    return removed


async def _walk(
    commands: Commands,
    scan: Callable[[bytes], _Command],
    unlink: Callable[[Sequence[bytes]], Sequence[_Command]],
) -> int:
    """Each slice is removed in the round trip that looks for the next one."""
    cursor, removed = b"0", 0
    keys: Sequence[bytes] = ()
    while True:
        doing = unlink(keys) if keys else ()
        (cursor, keys), *counts = await commands.execute_many([scan(cursor), *doing])
        removed += sum(counts)
        if cursor == b"0":
            break
    return removed + (sum(await commands.execute_many(unlink(keys))) if keys else 0)


async def _routes(commands: Commands) -> list[str]:
    """For each primary a key that lives there, if there were one; empty where it is no cluster."""
    try:
        rows: Iterable[Any] = await commands.execute("CLUSTER", "SLOTS")
    except CommandError:
        return []
    ranges: dict[Any, list[range]] = {}
    for first, last, primary, *_ in rows:
        ranges.setdefault(tuple(primary[:2]), []).append(range(first, last + 1))
    return [_key_in(slots) for slots in ranges.values()]


def _key_in(slots: Sequence[range]) -> str:
    # The CRC of a cluster is the one of XMODEM.
    names = map(str, count())
    return next(
        name for name in names if any(crc_hqx(name.encode(), 0) % _SLOTS in each for each in slots)
    )
