"""From what a call says to the store's own words: keys, tags, and the recipe of its options."""

from collections.abc import Hashable, Iterable, Sequence
from datetime import timedelta

from symphonia_perf.cache._given import listed
from symphonia_perf.cache.entry import MAX_TAGS
from symphonia_perf.cache.keys import LONGEST, KeyScheme
from symphonia_perf.cache.lifetime import Lifetime
from symphonia_perf.cache.options import CallOptions, Recipe
from symphonia_perf.errors import ConfigurationError

__all__ = ["NO_TAGS", "Naming"]

NO_TAGS: Sequence[str] = ()
_REMEMBERED = 1_024
_PLAIN = frozenset({bool, int, float, str, type(None), timedelta, Lifetime})


class Naming:
    """What calls say, in the store's words. What has none is a `ConfigurationError`.

    Args:
        scheme: where the cache's keys live.
        recipe: what it does where a call says nothing.

    Attributes:
        recent: of keys asked for lately the ones in the store. These have their hash, and joining
            a new text and hashing it takes a sixth of a hit in memory.
    """

    def __init__(self, scheme: KeyScheme, recipe: Recipe) -> None:
        self._start, self._tag_start = scheme.start, scheme.tags
        self._recipe = recipe
        self._recipes: dict[Hashable, Recipe] = {}
        self.recent: dict[str, str] = {}

    def full(self, key: object) -> str:
        """The key as the store has it."""
        if not isinstance(key, str) or not key or key[0] == "~":
            raise ConfigurationError(
                f"key={key!r}: expected a text such as 'plan:12345', not beginning with '~'"
            )
        return self._start + key

    def remembered(self, key: str) -> str:
        """The same, from now on in `recent`."""
        full = self.full(key)
        if len(self.recent) >= _REMEMBERED:
            self.recent.clear()
        if len(key) <= LONGEST:
            self.recent[key] = full
        return full

    def full_many(self, keys: Iterable[str]) -> dict[str, str]:
        """Of each key as the store has it, the key."""
        return {self.full(key): key for key in listed("keys", keys)}

    def tags(self, tags: Iterable[str], *, at_most: int | None = MAX_TAGS) -> Sequence[str]:
        """The tags as the store has them, each once."""
        found = []
        for tag in listed("tags", tags):
            if not isinstance(tag, str) or not tag:
                raise ConfigurationError(f"tags: {tag!r} is no text such as 'plans'")
            found.append(tag)
        found = list(dict.fromkeys(found))
        if at_most is not None and len(found) > at_most:
            raise ConfigurationError(f"tags: {len(found)} of them, an entry may have {at_most}")
        return [self._tag_start + tag for tag in found]

    def told(self, options: CallOptions) -> tuple[Recipe, Sequence[str]]:
        """What a call says otherwise than the cache, and its tags."""
        tags = self.tags(options["tags"]) if "tags" in options else NO_TAGS
        # Plain options are the same in every call from one place, and a recipe takes 10 us to make.
        told = tuple((name, type(o), o) for name, o in options.items() if name != "tags")
        if not _PLAIN.issuperset(kind for _, kind, _ in told):
            return self._recipe.varied(options), tags
        recipe = self._recipes.get(told)
        if recipe is None:
            recipe = self._recipe.varied(options)
            if len(self._recipes) >= _REMEMBERED:
                self._recipes.clear()
            self._recipes[told] = recipe
        return recipe, tags
