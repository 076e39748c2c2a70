"""What this process knows of tags' generations, for as long as it hears of their changes: pure."""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from math import inf

from symphonia_perf.cache.entry import Generation
from symphonia_perf.errors import ConfigurationError

__all__ = ["MAX_KNOWN_TAGS", "TagVector"]

MAX_KNOWN_TAGS = 10_000
"""Tags whose generations a process remembers, where it is not told otherwise."""


class TagVector:
    """The generations of the tags that were used last; the others have to be asked for.

    It is as right as what it is told: whoever fills it must hear of every bump, and `forget` the
    tag then, or everything when something may have gone unheard. A tag that is not known counts as
    bumped, so forgetting costs a question and never an answer that is too old.

    A bump may go unheard all the same, so what was learnt is asked for anew when `lasts` seconds
    are over. `moved_from` does not look at the time, as it is part of every hit: whoever holds an
    entry ends it at `until` of its tags.

    An older generation than the true one does no harm where it is given to new entries: it was
    read before their values were, so such an entry is gone as soon as it is stored.

    ```python
    from symphonia_perf.cache.tags import TagVector

    known = TagVector(at_most=2)
    known.learn("plans", 7)
    assert not known.moved_from({"plans": 7})
    known.forget("plans")
    assert known.moved_from({"plans": 7})
    ```

    Args:
        at_most: tags that are remembered, the least recently asked for leaving first.
        lasts: seconds that a generation is known after it was learnt; default forever.
        now: monotonic time.

    Raises:
        ConfigurationError: a bound that is not an int above 0.
    """

    __slots__ = ("_at_most", "_ends", "_known", "_lasts", "_now")

    def __init__(
        self,
        at_most: int = MAX_KNOWN_TAGS,
        *,
        lasts: float = inf,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        if type(at_most) is not int or at_most < 1:
            raise ConfigurationError(f"max_tags={at_most!r}: expected an int from 1")
        self._at_most = at_most
        self._lasts = lasts
        self._now = now
        self._known: OrderedDict[str, Generation] = OrderedDict()
        self._ends: dict[str, float] = {}  # of the same tags

    def __len__(self) -> int:
        """How many tags are remembered, the ended that nobody asked for included."""
        return len(self._known)

    def __contains__(self, tag: str) -> bool:
        """Whether the tag's generation is known."""
        return tag in self._known and self._now() < self._ends[tag]

    def known(self, tags: Iterable[str]) -> dict[str, Generation]:
        """The generations of those that are known; they are remembered longest from now on."""
        found: dict[str, Generation] = {}
        for tag in tags:
            number = self._known.get(tag)
            if number is None:
                continue
            if self._now() >= self._ends[tag]:
                self.forget(tag)
                continue
            self._known.move_to_end(tag)
            found[tag] = number
        return found

    def until(self, tags: Iterable[str]) -> float:
        """The monotonic time at which the first of those that are known has to be asked for."""
        return min((self._ends[tag] for tag in tags if tag in self._ends), default=inf)

    def moved_from(self, tags: Mapping[str, Generation]) -> bool:
        """Whether one of the tags has another generation, or one that is not known."""
        # A loop, as this is part of every hit with tags: `any()` over a generator takes twice as
        # long for one tag.
        known = self._known
        for tag, number in tags.items():  # noqa: SIM110
            if known.get(tag) != number:
                return True
        return False

    def learn(self, tag: str, number: Generation) -> None:
        """This is the tag's generation, unless `forget` says that it was."""
        self._ends[tag] = self._now() + self._lasts
        self._known[tag] = number
        self._known.move_to_end(tag)
        if len(self._known) > self._at_most:
            oldest, _ = self._known.popitem(last=False)
            del self._ends[oldest]

    def forget(self, tag: str) -> None:
        """It was bumped, or is about to be."""
        self._known.pop(tag, None)
        self._ends.pop(tag, None)

    def clear(self) -> None:
        """Every tag may have been bumped."""
        self._known.clear()
        self._ends.clear()
