"""The role a cache store plays."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from types import MappingProxyType
from typing import NamedTuple, Protocol

from symphonia_perf.cache.entry import Entry, Generation
from symphonia_perf.typing import Seconds

__all__ = [
    "CacheStore",
    "Found",
    "Lease",
    "ListeningStore",
    "PeekableStore",
    "QuickStore",
    "hearing",
]


_NONE: Mapping[str, Generation] = MappingProxyType({})


class Found(NamedTuple):
    """What a store answers to a read; name its fields when you make one.

    A key that stands in neither of the first two is not in the store, or one of its tags was bumped
    since.
    """

    entries: Mapping[str, Entry]  # by key, in no particular order
    corrupt: Sequence[str] = ()  # keys whose bytes are foreign, newer or damaged; default none
    generations: Mapping[str, Generation] = _NONE  # of every tag that was asked for; default none


class Lease(Protocol):
    """The right to load one key, of one holder among all that share the store."""

    async def acquire(self) -> bool:
        """Take it if nobody has it, without waiting; whether it is ours now.

        It is then renewed until it is released, however long that takes.
        """
        ...

    async def release(self) -> None:
        """Give it back; it may have been lost meanwhile. A store that fails raises nothing."""
        ...


class CacheStore(Protocol):
    """Keeps entries until their time is over, or until it needs the room.

    `PeekableStore`, `QuickStore` and `ListeningStore` say what a store may have besides.

    `symphonia_perf.testing.cache_store.CacheStoreContract` is the test suite a store of your own
    proves itself on.

    Raises (all methods but `lease`):
        StoreError: the store failed; the cache then does what its `on_error` says.
    """

    async def get_many(
        self, keys: Sequence[str], tags: Sequence[str] = (), *, ages: bool = False
    ) -> Found:
        """The entries that are there and whose tags were not bumped, in one round trip.

        Args:
            keys: of the entries; there may be none.
            tags: whose generations are wanted, for entries that are made after this.
            ages: whether `created` is wanted of entries that may be stale. A store that knows it
                anyway always gives it.
        """
        ...

    async def set_many(self, entries: Mapping[str, Entry]) -> None:
        """Store entries for as long as each lasts, in place of what was there, in one round trip.

        Raises:
            NotEncodable: a value cannot be given back unchanged; then nothing was stored.
        """
        ...

    async def delete_many(self, keys: Sequence[str]) -> int:
        """Remove entries in one round trip; how many of them were there."""
        ...

    async def delete_matching(self, pattern: str) -> int:
        r"""Remove entries whose key is of this form, in slices; how many there were.

        The pattern is Redis's glob: `*`, `?`, `[a-z]`, and `\` before what is meant literally. This
        looks at every key of the store: it is for maintenance. Use tags for everyday changes.
        """
        ...

    async def bump_tags(self, tags: Sequence[str]) -> None:
        """Give each tag another generation: entries that carry the old one are gone at once."""
        ...

    def lease(self, key: str, length: Seconds) -> Lease:
        """A lease to load `key`; if its holder dies, another gets it after `length` seconds."""
        ...


class PeekableStore(CacheStore, Protocol):
    """A store in this process: it also answers without a suspension."""

    def peek(self, key: str, /) -> Entry | None:
        """The entry if it is at hand, fresh, no error, and its tags were not bumped.

        None says nothing: `get_many` may still have it.
        """
        ...


class QuickStore(CacheStore, Protocol):
    """A store that has a shorter way to one entry than a bulk of one."""

    async def get_entry(self, key: str) -> Entry | Found:
        """What `get_many([key])` finds; the entry alone where it is to be served as it is.

        That is where it has a value and a time and nothing else: it cannot be stale, stands for no
        error, and has no tags.
        """
        ...


class ListeningStore(CacheStore, Protocol):
    """A store that keeps what it reads, and so must hear of what others write."""

    def listening(self, prefix: str) -> AbstractAsyncContextManager[None]:
        """To be entered while a cache is open whose keys begin with `prefix`."""
        ...


def hearing(store: CacheStore, prefix: str) -> AbstractAsyncContextManager[None]:
    """What a cache of this prefix enters, so that its store hears where it has to."""
    listening = getattr(store, "listening", None)
    return nullcontext() if listening is None else listening(prefix)
