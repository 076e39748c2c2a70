"""What may be sent on a connection that many callers share: pure checks, before anything waits.

One bad argument inside a pipeline fails everybody's commands, so each command is checked and
turned into bytes while its own caller is still there to hear of it.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TypeAlias

from symphonia_perf.errors import ConfigurationError
from symphonia_perf.redis.commands import Argument

__all__ = ["BY_ARGUMENTS", "READS", "Packed", "blocks_for", "command_name", "listed", "pack"]

Packed: TypeAlias = tuple[str, *tuple[bytes, ...]]
"""A command's name in capitals, then its arguments as bytes."""

_BLOCKS = (
    "makes every other caller of this connection wait; call it in `async with client.blocking()`, "
    "or on the redis-py client itself where that was wrapped"
)
_CHANGES = (
    "changes the connection, which other callers share; set it where the client is built, "
    "or call it on a client of its own"
)
_BLOCKING = frozenset(
    ("BLMOVE", "BLMPOP", "BLPOP", "BRPOP", "BRPOPLPUSH", "BZMPOP", "BZPOPMAX", "BZPOPMIN")
) | {"WAIT", "WAITAOF"}
_REFUSED = {
    **dict.fromkeys(
        ("DISCARD", "EXEC", "MULTI", "UNWATCH", "WATCH"),
        "changes the connection, which other callers share; use script() or transaction(), or "
        "pipeline(transaction=True) of the redis-py client itself where that was wrapped",
    ),
    **dict.fromkeys(
        ("PSUBSCRIBE", "PUNSUBSCRIBE", "SSUBSCRIBE", "SUBSCRIBE", "SUNSUBSCRIBE", "UNSUBSCRIBE"),
        "changes the connection, which other callers share; use pubsub(), which has its own",
    ),
    **dict.fromkeys(
        ("ASKING", "AUTH", "HELLO", "HIMPORT", "MONITOR", "PSYNC", "QUIT", "READONLY"), _CHANGES
    ),
    **dict.fromkeys(("READWRITE", "REPLCONF", "RESET", "SELECT", "SYNC"), _CHANGES),
}
# Two words are needed to see that these change the connection.
_STATE_WORDS = {
    "CLIENT": frozenset(
        {
            b"CACHING",
            b"CAPA",
            b"NO-EVICT",
            b"NO-TOUCH",
            b"REPLY",
            b"SETINFO",
            b"SETNAME",
            b"TRACKING",
        }
    ),
    "SCRIPT": frozenset({b"DEBUG"}),
}
# Where the options of a command that may block begin: XREADGROUP's are behind GROUP name consumer.
_STREAM_READS = {"XREAD": 1, "XREADGROUP": 4}
# Where a blocking command says how long, and how many of that are a second.
_TIMEOUT_AT = {
    **dict.fromkeys(("BLMOVE", "BLPOP", "BRPOP", "BRPOPLPUSH", "BZPOPMAX", "BZPOPMIN"), (-1, 1)),
    **dict.fromkeys(("BLMPOP", "BZMPOP"), (1, 1)),
    "WAIT": (2, 1000),
    "WAITAOF": (3, 1000),
}

BY_ARGUMENTS = frozenset(_STATE_WORDS) | frozenset(_STREAM_READS)
"""Commands whose name alone does not tell whether a shared connection can take them."""

READS = frozenset(
    """
    BITCOUNT BITFIELD_RO BITPOS DBSIZE DUMP ECHO EVALSHA_RO EVAL_RO EXISTS EXPIRETIME
    FCALL_RO GEODIST GEOHASH GEOPOS GEORADIUSBYMEMBER_RO GEORADIUS_RO GEOSEARCH GET GETBIT
    GETRANGE HEXISTS HGET HGETALL HKEYS HLEN HMGET HRANDFIELD HSCAN HSTRLEN HVALS KEYS LCS
    LINDEX LLEN LPOS LRANGE MGET PEXPIRETIME PING PTTL RANDOMKEY SCAN SCARD SDIFF SINTER
    SINTERCARD SISMEMBER SMEMBERS SMISMEMBER SORT_RO SRANDMEMBER SSCAN STRLEN SUBSTR SUNION
    TIME TTL TYPE XLEN XPENDING XRANGE XREVRANGE ZCARD ZCOUNT ZDIFF ZINTER ZINTERCARD
    ZLEXCOUNT ZMSCORE ZRANDMEMBER ZRANGE ZRANGEBYLEX ZRANGEBYSCORE ZRANK ZREVRANGE
    ZREVRANGEBYLEX ZREVRANGEBYSCORE ZREVRANK ZSCAN ZSCORE ZUNION
    """.split()  # noqa: SIM905 - one name a line would be a page
)
"""Commands that change nothing whatever their arguments: executed twice, they do no harm."""


def pack(args: Sequence[Argument], *, may_block: bool = False) -> Packed:
    """The command as it will be sent: text as UTF-8, a float by `repr`.

    Args:
        args: the command's name and arguments.
        may_block: whether the connection has one caller only.

    Raises:
        ConfigurationError: no command, an argument of another type (its position is named), or a
            command that would block or change the connection that others use too.
    """
    if isinstance(args, str | bytes):
        raise ConfigurationError(
            f"command {args!r:.100}: expected a sequence of words, as in ('GET', 'key')"
        )
    if not args:
        raise ConfigurationError("a command needs a name, as in execute('GET', 'key')")
    name = args[0]
    if not isinstance(name, str | bytes):  # unhashable, perhaps: the cache would fail first
        raise _no_name(name)
    command = command_name(name, may_block)
    packed: list[bytes] = []
    for position, argument in enumerate(args[1:], start=1):
        kind = type(argument)
        if kind is bytes:
            packed.append(argument)  # type: ignore[arg-type] # narrowed by identity: isinstance is slower
        elif kind is str:
            packed.append(_text(command, position, argument))  # type: ignore[arg-type] # the same
        else:
            packed.append(_uncommon(command, position, argument))
    if command in BY_ARGUMENTS:
        _refuse_by_arguments(command, packed, may_block=may_block)
    return (command, *packed)


@lru_cache(maxsize=1024)
def command_name(name: Argument, may_block: bool = False) -> str:  # noqa: FBT001, FBT002 - cached
    """The name in capitals.

    Raises:
        ConfigurationError: not one word, or a command that a shared connection cannot take.
    """
    if not isinstance(name, str | bytes):
        raise _no_name(name)
    text = name.decode("latin-1") if isinstance(name, bytes) else name
    command = text.upper()
    if command.split() != [command] or not command.isascii():
        raise ConfigurationError(
            f"command name {name!r:.100}: expected one word; every further word is an argument of "
            "its own, as in execute('CONFIG', 'GET', 'maxmemory')"
        )
    if command in _BLOCKING and not may_block:
        raise ConfigurationError(f"{command} {_BLOCKS}")
    if command in _REFUSED:
        raise ConfigurationError(f"{command} {_REFUSED[command]}")
    return command


def listed(commands: Iterable[Sequence[Argument]]) -> Sequence[Sequence[Argument]]:
    """The commands, each a sequence of words, to be gone through more than once.

    Raises:
        ConfigurationError: not a list of commands.
    """
    wanted = "expected a list of commands, as in [('GET', 'a'), ('GET', 'b')]"
    if isinstance(commands, str | bytes | Mapping) or not isinstance(commands, Iterable):
        raise ConfigurationError(f"commands={commands!r:.100}: {wanted}")
    found = tuple(commands)
    for command in found:
        if type(command) is not tuple and (
            isinstance(command, str | bytes) or not isinstance(command, Sequence)
        ):
            raise ConfigurationError(f"command {command!r:.100}: {wanted}")
    return found


def blocks_for(args: Sequence[Argument]) -> float | None:
    """Seconds that the server may take its time with this command; None where that has no end.

    It is 0 for a command that does not block, and where the time cannot be read: the server will
    say what is wrong with it.
    """
    if not args or not isinstance(args[0], str | bytes):
        return 0.0  # it will be refused
    command = command_name(args[0], may_block=True)
    try:
        if command in _STREAM_READS:
            start = _STREAM_READS[command]  # a group may be called BLOCK
            words = [_uncased(word) for word in args[start:]]
            at, unit = start + words.index("BLOCK") + 1, 1000
        else:
            at, unit = _TIMEOUT_AT[command]
        lasts = float(args[at]) / unit
    except (KeyError, IndexError, ValueError, TypeError, OverflowError):
        return 0.0
    if lasts == 0:
        return None
    return lasts if 0 < lasts < math.inf else 0.0


def _uncased(word: Argument) -> Argument:
    text = word.decode("latin-1") if isinstance(word, bytes) else word
    return text.upper() if isinstance(text, str) else text


def _no_name(name: object) -> ConfigurationError:
    return ConfigurationError(f"command name: expected str or bytes, not {name!r:.100}")


def _refuse_by_arguments(command: str, arguments: Sequence[bytes], *, may_block: bool) -> None:
    words = [word.upper() for word in arguments]
    if command in _STATE_WORDS and words and words[0] in _STATE_WORDS[command]:
        raise ConfigurationError(f"{command} {words[0].decode()} {_CHANGES}")
    if command in _STREAM_READS and not may_block:
        options = words[_STREAM_READS[command] - 1 :]
        if b"STREAMS" in options:
            options = options[: options.index(b"STREAMS")]
        if b"BLOCK" in options:
            raise ConfigurationError(f"{command} with BLOCK {_BLOCKS}")


def _text(command: str, position: int, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ConfigurationError(f"{command} argument {position}: not UTF-8: {error}") from error


def _uncommon(command: str, position: int, argument: object) -> bytes:
    """Numbers, and subclasses of what is allowed (a StrEnum, an IntEnum, a numpy float)."""
    if isinstance(argument, float):
        return float.__repr__(argument).encode()
    if isinstance(argument, int) and not isinstance(argument, bool):
        try:
            return b"%d" % argument
        except ValueError as error:  # sys.set_int_max_str_digits
            raise ConfigurationError(f"{command} argument {position}: {error}") from error
    if isinstance(argument, str):
        return _text(command, position, str.__str__(argument))
    if isinstance(argument, bytes):
        return bytes(argument)
    raise ConfigurationError(
        f"{command} argument {position}: expected str, bytes, int or float, "
        f"not {type(argument).__qualname__} ({argument!r:.100})"
    )
