"""Entries in Redis or Valkey, shared by all processes of a service."""

import struct
from collections.abc import Mapping, Sequence

from symphonia_perf._core.codecs import Codec, MsgpackCodec
from symphonia_perf.cache.entry import Entry
from symphonia_perf.cache.stores import Found
from symphonia_perf.errors import ConfigurationError, CorruptEntry
from symphonia_perf.redis.commands import Commands, Reply

__all__ = ["RedisCacheStore"]

# An entry is one byte for the form of this head, its ttl in seconds, and the codec's bytes. Another
# form makes an entry unreadable for older processes, which then see a miss.
_HEAD = struct.Struct(">Bd")
_FORM = 1
# Redis counts milliseconds in 64 bits, and refuses what does not fit: nobody waits for a century.
_LONGEST = 100 * 365 * 86_400.0


class RedisCacheStore:
    """A cache store in Redis or Valkey. Each operation is one round trip.

    Expiry is the server's, so no host's clock matters. An entry that this version of the library
    did not write, or that was damaged, is reported as such and never raises.

    Args:
        commands: what executes commands: `wrap(client)` over a redis-py client.
        codec: how values become bytes; default `MsgpackCodec()`.

    Raises:
        ConfigurationError: `commands` is a client that was not wrapped.
    """

    def __init__(self, commands: Commands, *, codec: Codec | None = None) -> None:
        if not callable(getattr(commands, "execute_many", None)):
            kind = f"{type(commands).__module__}.{type(commands).__qualname__}"
            raise ConfigurationError(
                f"commands={kind}: expected what symphonia_perf.redis.wrap() returns; write"
                " RedisCacheStore(wrap(client))"
            )
        self._commands = commands
        self._codec = codec or MsgpackCodec()

    async def get_many(self, keys: Sequence[str]) -> Found:
        """The entries that are there; damaged and foreign ones are only named."""
        # MGET answers nil for a key of another type, where GET fails. One per key: the keys of a
        # cluster live on several nodes, and all leave in one write anyway.
        if len(keys) == 1:
            replies = [await self._commands.execute("MGET", keys[0])]
        else:
            replies = await self._commands.execute_many([("MGET", key) for key in keys])
        found: dict[str, Entry] = {}
        corrupt: list[str] = []
        for key, (data,) in zip(keys, replies, strict=True):
            try:
                if data is not None:
                    found[key] = self._decode(data)
            except CorruptEntry:
                corrupt.append(key)
        return Found(entries=found, corrupt=corrupt)

    async def set_many(self, entries: Mapping[str, Entry]) -> None:
        """Store entries for their `ttl` in place of what was there.

        Raises:
            NotEncodable: the codec cannot give a value back unchanged; then nothing was sent.
        """
        await self._commands.execute_many(
            [
                ("SET", key, self._encode(entry), "PX", _milliseconds(entry.ttl))
                for key, entry in entries.items()
            ]
        )

    async def delete_many(self, keys: Sequence[str]) -> int:
        """Remove entries; how many of them were there."""
        # UNLINK frees a large value's memory outside the server's one thread.
        return sum(await self._commands.execute_many([("UNLINK", key) for key in keys]))

    def _encode(self, entry: Entry) -> bytes:
        return _HEAD.pack(_FORM, entry.ttl) + self._codec.encode(entry.value)

    def _decode(self, data: Reply) -> Entry:
        if not isinstance(data, bytes) or len(data) < _HEAD.size or data[0] != _FORM:
            raise CorruptEntry("not an entry of this version", store="redis", operation="MGET")
        _, ttl = _HEAD.unpack_from(data)
        return Entry(value=self._codec.decode(data[_HEAD.size :]), ttl=ttl)


def _milliseconds(ttl: float) -> int:
    return max(1, round(min(ttl, _LONGEST) * 1000))
