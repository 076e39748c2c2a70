"""Entries in Redis or Valkey, shared by all processes of a service."""

import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import blake2b
from typing import Any

from symphonia_perf._core.clock import Clock
from symphonia_perf._core.codecs import Codec, MsgpackCodec
from symphonia_perf.cache import _wire
from symphonia_perf.cache._given import checked_codec, steady
from symphonia_perf.cache._reading import Reading
from symphonia_perf.cache._shared_reads import ALONE, SharedReads
from symphonia_perf.cache._walking import remove_matching
from symphonia_perf.cache.entry import Entry, Generation
from symphonia_perf.cache.stores import Found
from symphonia_perf.errors import CommandError, ConfigurationError, CorruptEntry, LeaseLost
from symphonia_perf.redis.commands import Commands, Reply
from symphonia_perf.redis.lease import Lease
from symphonia_perf.typing import Seconds

__all__ = ["RedisCacheStore"]

# Redis counts milliseconds in 64 bits, and refuses what does not fit: nobody waits for a century.
_LONGEST = 100 * 365 * 86_400.0
# A tag's generation is forgotten after so long without a bump, and entries that carry it with it.
_GENERATION_LASTS = 30 * 86_400_000  # milliseconds
# Names in one round trip: each has the whole deadline, and others' commands go in between.
_SLICE = 1_000
_NOTHING = Found({})
_new: Any = tuple.__new__


class RedisCacheStore:
    """A cache store in Redis or Valkey. Each operation is one round trip.

    Of more than a thousand names it takes one for each thousand, one after the other; where one of
    them fails, those before it have been done.

    Expiry is the server's, so no host's clock matters. An entry that this version of the library
    did not write, that was damaged, or that needs a package that is not installed here is reported
    as such and never raises. Tasks that read one key in one turn of the event loop share the
    command; each decodes an object of its own.

    A tag's generation is a random number under the tag's own key: bumping it is one SET, or, where
    the server has no room for that, one UNLINK. Where it is missing (never used, removed, evicted,
    or thirty days old) it is written anew by the next reader, and entries that carry the old one
    are gone.

    Args:
        commands: what executes commands: `connect()`, or `wrap(client)` over a redis-py client.
        codec: how values become bytes; default `MsgpackCodec()`.
        compress_above: pack values of more bytes than this by zstd; default None, never. A codec of
            your own has this option itself.
        clock: where time comes from; the cache's own must run alike.

    Raises:
        ConfigurationError: `commands` is a client that was not wrapped, or `compress_above` is not
            a number of bytes, or stands beside `codec`.
        MissingExtra: `compress_above` without zstandard.
    """

    def __init__(
        self,
        commands: Commands,
        *,
        codec: Codec | None = None,
        compress_above: int | None = None,
        clock: Clock | None = None,
    ) -> None:
        if not callable(getattr(commands, "execute_many", None)):
            kind = f"{type(commands).__module__}.{type(commands).__qualname__}"
            raise ConfigurationError(
                f"commands={kind}: expected what symphonia_perf.redis.wrap() returns; write"
                " RedisCacheStore(wrap(client))"
            )
        if codec is not None and compress_above is not None:
            raise ConfigurationError(
                f"compress_above={compress_above!r} beside a codec: give it to the codec"
            )
        self._commands = commands
        self._codec: Codec = MsgpackCodec(compress_above=compress_above)
        if codec is not None:
            self._codec = checked_codec(codec)
        self._now = steady(clock)
        self._decode = _wire.reader(self._codec)
        self._shared = SharedReads()
        self._reading = Reading(commands, self._shared)

    @property
    def commands(self) -> Commands:
        """What executes its commands."""
        return self._commands

    async def get_many(
        self,
        keys: Sequence[str],
        tags: Sequence[str] = (),
        *,
        ages: bool = False,
        check: bool = True,
    ) -> Found:
        """The entries that are there; damaged and foreign ones are only named.

        It takes a second round trip where a tag has no generation yet, or an entry carries tags
        that were not asked for. With `ages` and not `check` it leaves the entries' tags to the
        caller, who may know them.
        """
        if len(keys) <= _SLICE:
            return await self._get_slice(keys, tags, ages=ages, check=check)
        entries: dict[str, Entry] = {}
        corrupt: list[str] = []
        generations: Mapping[str, Generation] = {}
        for start in range(0, len(keys), _SLICE):
            part = keys[start : start + _SLICE]
            found = await self._get_slice(part, tags, ages=ages, check=check)
            entries.update(found.entries)
            corrupt += found.corrupt
            generations = found.generations
        return Found(entries, corrupt, generations)

    async def _get_slice(
        self, keys: Sequence[str], tags: Sequence[str], *, ages: bool, check: bool
    ) -> Found:
        sent = self._now()
        data, left, numbers = await self._reading.ask(keys, tags, ages=ages, alone=not check)
        generations = _numbers(tags, numbers) if tags else {}
        if len(generations) < len(tags):
            generations.update(await self._seed([tag for tag in tags if tag not in generations]))
        found: dict[str, Entry] = {}
        corrupt: list[str] = []
        tagged = False
        for place, key in enumerate(keys):
            value = data[place]
            if value is None:
                continue
            try:
                entry = self._decode(value)
            except CorruptEntry:
                corrupt.append(key)
                continue
            found[key] = _aged(entry, left[place], sent) if ages else entry
            tagged = tagged or bool(entry.tags)
        if tagged and check:
            found = await self._current(found, generations)
        return Found(found, corrupt, generations)

    async def get_entry(self, key: str) -> Entry | Found:
        """What `get_many` finds under one key, by a shorter way.

        It is the entry alone where that can be served as it is: it has a value and a time, and
        nothing else.
        """
        # This is the path of most far hits: a coroutine more would take a fortieth of one.
        shared, turn = self._shared, ALONE
        if shared.readers > 0:
            leads = shared.lead(key)
            if leads is None:
                answer = await shared.follow(key)
                if answer is None:
                    return await self.get_entry(key)
                found = self._told(key, *answer)
                return found if isinstance(found, Entry) else await self._with_current(found)
            turn = leads
        else:
            shared.readers = 1
        try:
            # One bulk takes 1 us less to read than a list of one (MGET); in turn GET refuses what
            # is of another type.
            value = await self._commands.execute("GET", key)
        except BaseException as error:
            if not (isinstance(error, CommandError) and error.code == "WRONGTYPE"):
                shared.tell(key, turn, error)
                raise
            value = None
        if turn is ALONE:
            shared.readers -= 1
        else:
            shared.tell(key, turn, (value,))
        found = self._told(key, value)
        return found if isinstance(found, Entry) else await self._with_current(found)

    def _told(self, key: str, value: Reply) -> Entry | Found:
        """What the bytes under a key say; whether an entry's tags are current they do not."""
        if value is None:
            return _NOTHING
        try:
            entry = self._decode(value)
        except CorruptEntry:
            return Found({}, (key,))
        return entry if entry.tags is _wire.NO_TAGS else Found({key: entry})

    async def _with_current(self, found: Found) -> Found:
        if not any(entry.tags for entry in found.entries.values()):
            return found
        return Found(await self._current(found.entries, {}))

    async def set_many(self, entries: Mapping[str, Entry]) -> None:
        """Store entries in place of what was there.

        Raises:
            NotEncodable: the codec cannot give a value back unchanged; then nothing was sent.
        """
        await self._send(
            [
                ("SET", key, _wire.encode(entry, self._codec), "PX", _milliseconds(entry.lasts))
                for key, entry in entries.items()
            ]
        )

    async def delete_many(self, keys: Sequence[str]) -> int:
        """Remove entries; how many of them were there."""
        # UNLINK frees a large value's memory outside the server's one thread.
        return sum(await self._send([("UNLINK", key) for key in keys]))

    async def delete_matching(self, pattern: str) -> int:
        """Remove entries whose key is of this form: SCAN and UNLINK in slices, never KEYS.

        On a cluster it walks through the keys of every primary, one after the other. A key that
        moves to another node meanwhile may be missed.
        """
        return await remove_matching(self._commands, pattern)

    async def bump_tags(self, tags: Sequence[str]) -> None:
        """Give each tag another generation, one SET for each; a server without room forgets it."""
        # Not INCR: a generation that was evicted would start from 1 again, and entries of the first
        # one would come back to life.
        commands = [("SET", tag, _fresh_number(), "PX", _GENERATION_LASTS) for tag in tags]
        try:
            await self._send(commands)
        except CommandError as error:
            if error.code != "OOM":
                raise
            # What frees memory is never refused; the next reader gives another number.
            await self._send([("UNLINK", tag) for tag in tags])

    def lease(self, key: str, length: Seconds) -> "_RedisLease":
        """A lease to load `key`, renewed while it is held.

        Raises:
            ConfigurationError: a length that cannot work.
        """
        return _RedisLease(self._commands, key, length)

    async def _send(self, commands: Sequence[Sequence[Any]]) -> Sequence[Reply]:
        """The replies; one command takes the client's way for one, which is shorter."""
        if len(commands) == 1:
            return [await self._commands.execute(*commands[0])]
        if len(commands) <= _SLICE:
            return await self._commands.execute_many(commands)
        replies: list[Reply] = []
        for start in range(0, len(commands), _SLICE):
            replies += await self._commands.execute_many(commands[start : start + _SLICE])
        return replies

    async def _current(
        self, found: Mapping[str, Entry], generations: Mapping[str, Generation]
    ) -> dict[str, Entry]:
        """Of these entries, those whose tags were not bumped."""
        others = sorted({tag for e in found.values() for tag in e.tags if tag not in generations})
        if others:
            read = await self._reading.ask((), others)
            generations = {**generations, **_numbers(others, read.numbers)}
        return {key: entry for key, entry in found.items() if entry.is_current(generations)}

    async def _seed(self, tags: Sequence[str]) -> dict[str, Generation]:
        """The generations of tags that had none; whoever comes first decides."""
        commands: list[Sequence[Any]] = [
            ("SET", tag, _fresh_number(), "NX", "PX", _GENERATION_LASTS) for tag in tags
        ]
        commands += [("MGET", tag) for tag in tags]
        replies = await self._commands.execute_many(commands)
        numbers = _numbers(tags, [number for (number,) in replies[len(tags) :]])
        # Evicted within that moment, or not ours: an entry with a number that nobody else has is
        # gone when it is stored. One number for all would be found again by the next such reader.
        return {tag: _fresh_number() for tag in tags} | numbers


class _RedisLease:
    """The cache's use of a lease: it asks once, and what becomes of it later is no error."""

    def __init__(self, commands: Commands, key: str, length: Seconds) -> None:
        # Braces and long keys have no place in a lease's name; two keys that share one by chance
        # would only wait for each other.
        name = f"cache:{blake2b(key.encode('utf-8', 'surrogatepass'), digest_size=16).hexdigest()}"
        # A server that forgot a holder costs a second load at most: nobody waits after a restart.
        self._lease = Lease(commands, name, length=length, on_lost="raise", after_restart="grant")

    async def acquire(self) -> bool:
        return await self._lease.try_acquire()

    async def release(self) -> None:
        with suppress(LeaseLost):  # somebody may have loaded the same meanwhile
            await self._lease.release()


def _numbers(tags: Sequence[str], replies: Sequence[Reply]) -> dict[str, Generation]:
    """The generations that are there; what is no number of ours counts as missing."""
    numbers: dict[str, Generation] = {}
    for tag, reply in zip(tags, replies, strict=True):
        if isinstance(reply, bytes) and reply.isdigit() and len(reply) <= 19:
            numbers[tag] = int(reply)
    return numbers


def _fresh_number() -> Generation:
    return secrets.randbits(62) + 1


def _aged(entry: Entry, left: Reply, sent: float) -> Entry:
    """With the time it was stored, reckoned from what the server leaves it."""
    if not isinstance(left, int) or left == -1:  # somebody made it last forever
        return entry
    # From before the command was sent: an entry may seem older than it is, never younger.
    age = max(0.0, min(entry.lasts, _LONGEST) - max(left, 0) / 1000)
    aged: Entry = _new(Entry, (*entry[:-1], sent - age))  # as _replace, in a third of the time
    return aged


def _milliseconds(duration: float) -> int:
    return max(1, round(min(duration, _LONGEST) * 1000))
