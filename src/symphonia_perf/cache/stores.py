"""The role a cache store plays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from symphonia_perf.cache.entry import Entry

__all__ = ["CacheStore", "Found", "PeekableStore"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a store answers to a read.

    A key that stands in neither field is not in the store.
    """

    entries: Mapping[str, Entry]  # by key, in no particular order
    corrupt: Sequence[str] = ()  # keys whose bytes are foreign, newer or damaged; default none


class CacheStore(Protocol):
    """Keeps entries until their time is over, or until it needs the room.

    `symphonia_perf.testing.cache_store.CacheStoreContract` is the test suite a store of your own
    proves itself on.

    Raises (all methods):
        StoreError: the store failed; the cache then does what its `on_error` says.
    """

    async def get_many(self, keys: Sequence[str]) -> Found:
        """The entries that are there and fresh, in one round trip; damaged ones are only named."""
        ...

    async def set_many(self, entries: Mapping[str, Entry]) -> None:
        """Store entries for their `ttl` in one round trip, in place of what was there.

        Raises:
            NotEncodable: a value cannot be given back unchanged; then nothing was stored.
        """
        ...

    async def delete_many(self, keys: Sequence[str]) -> int:
        """Remove entries in one round trip; how many of them were there."""
        ...


class PeekableStore(CacheStore, Protocol):
    """A store in this process: it also answers without a suspension."""

    def peek(self, key: str) -> Entry | None:
        """The entry if it is at hand and fresh; None says nothing about other tiers."""
        ...
