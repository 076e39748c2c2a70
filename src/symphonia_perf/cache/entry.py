"""What a store keeps under a key, and the decision what it may still be used for: pure."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypeAlias

__all__ = ["MAX_TAGS", "Entry", "Generation", "State"]

State: TypeAlias = Literal["fresh", "stale", "spare", "gone"]
"""What an entry may be used for.

`fresh` is served. `stale` is served while it is loaded anew. `spare` is served only where loading
it anew raises. `gone` is not served.
"""

Generation: TypeAlias = int
"""Names the time between two bumps of a tag; it is only compared for equality."""

MAX_TAGS = 32
"""Tags that one entry may carry."""

_NO_TAGS: Mapping[str, Generation] = MappingProxyType({})


class Entry(NamedTuple):
    """A value, how long it lives, and which tags it depends on; name its fields when you make one.

    It is a tuple because one is made for every hit that is copied: that takes 0.2 us, where a
    frozen dataclass takes 1.5.

    Its time has three parts, one after the other: fresh, stale, spare. It is never compared with
    another host's wall clock: a store says in `created` when the entry was stored by the clock of
    the process that reads it, because it kept that time itself or asked its server for the age.

    ```python
    from symphonia_perf.cache import Entry

    entry = Entry(value=None, ttl=60.0, stale_for=30.0, created=1000.0)
    assert entry.state(1059.9) == "fresh"
    assert entry.state(1060.0) == "stale"
    assert entry.state(1090.0) == "gone"
    ```
    """

    value: Any  # None is a value like any other
    ttl: float  # seconds it is fresh, from when it was stored
    stale_for: float = 0.0  # seconds after that in which it is stale; default 0
    stale_on_error: float = 0.0  # seconds after that in which it is a spare; default 0
    # Of each tag, from before the value was read where it comes from; at most 32. Default none.
    tags: Mapping[str, Generation] = _NO_TAGS
    raised: bool = False  # whether it stands for an error that the loader raised; default False
    created: float | None = None  # the reader's monotonic time; default None: not asked for

    @property
    def lasts(self) -> float:
        """Seconds that a store keeps it."""
        return self.ttl + self.stale_for + self.stale_on_error

    def state(self, now: float) -> State:
        """What it may be used for at the process's monotonic time `now`.

        An entry whose age is not known is fresh: its store would not have given it away otherwise.
        """
        if self.created is None:
            return "fresh"
        left = self.created + self.ttl - now
        if left > 0:
            return "fresh"
        if left + self.stale_for > 0:
            return "stale"
        return "spare" if left + self.stale_for + self.stale_on_error > 0 else "gone"

    def is_current(self, generations: Mapping[str, Generation]) -> bool:
        """Whether none of its tags was bumped since; a tag that is not there counts as bumped."""
        return all(generations.get(tag) == number for tag, number in self.tags.items())
