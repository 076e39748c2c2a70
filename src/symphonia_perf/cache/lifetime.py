"""How long results are kept: the policy, the study's presets, and the entry they make of a value.

Pure: chance is an argument.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from symphonia_perf._core.durations import seconds
from symphonia_perf.cache.entry import Entry, Generation
from symphonia_perf.errors import ConfigurationError
from symphonia_perf.typing import Seconds

__all__ = ["TTL", "Lifetime"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetime:
    """How long a result may be served, and in which way.

    Wherever the cache takes a `ttl`, it takes one of these too.

    ```python
    from symphonia_perf.cache import Cache, Lifetime, MemoryCacheStore

    patient = Lifetime(ttl=900, stale_for=60, stale_on_error=3600, negative=30)
    cache = Cache(MemoryCacheStore(), ttl=patient)
    ```

    Raises:
        ConfigurationError: names the option, its value and what is allowed.
    """

    ttl: Seconds = 3600.0  # a result is fresh so long; 0: it is not kept; default an hour
    # After that a result is served for so long while one task loads it anew; default 0 s.
    stale_for: Seconds = 0.0
    # After that it is kept for so long in case that the loader raises; default 0 s.
    stale_on_error: Seconds = 0.0
    # A None, or an error of `errors`, is fresh for so long and never stale. Default: None is a
    # value like any other, and errors are not kept.
    negative: Seconds | None = None
    # Errors of exactly these kinds are answers, too; needs `negative`; default none. Each is kept
    # by its name and `args`, and raised again as `kind(*args)`.
    errors: tuple[type[Exception], ...] = ()
    # Up to so large a part of a time is taken off by chance, so that entries stored together do not
    # end together; default 0.05.
    jitter: float = 0.05

    def __post_init__(self) -> None:
        """Check every field."""
        for option in ("ttl", "stale_for", "stale_on_error"):
            value = seconds(getattr(self, option), option=option, zero=True)
            object.__setattr__(self, option, value)
        if self.negative is not None:
            object.__setattr__(self, "negative", seconds(self.negative, option="negative"))
        jitter: object = self.jitter
        if type(jitter) not in {int, float} or not 0 <= self.jitter < 1:
            raise ConfigurationError(f"jitter={jitter!r}: expected 0 or more and less than 1")
        errors: object = self.errors
        if not isinstance(errors, tuple) or not all(
            isinstance(kind, type) and issubclass(kind, Exception) for kind in errors
        ):
            raise ConfigurationError(
                f"errors={errors!r}: expected a tuple of exception classes, as in (LookupError,)"
            )
        if self.errors and self.negative is None:
            raise ConfigurationError(f"errors={errors!r}: say how long they are kept by negative=")
        if not self.ttl and (self.stale_for or self.stale_on_error):
            raise ConfigurationError("ttl=0: what is not kept cannot be served when it is stale")

    @property
    def keeps(self) -> bool:
        """Whether it keeps anything."""
        return bool(self.ttl) or self.negative is not None

    def entry(self, value: Any, tags: Mapping[str, Generation], chance: float) -> Entry | None:
        """The entry for a loader's result; None where it is not kept. `chance` is 0 to 1."""
        if value is None and self.negative is not None:
            return self._negative(value, tags, chance, raised=False)
        if not self.ttl:
            return None
        factor = 1.0 - self.jitter * chance
        return Entry(
            value=value,
            ttl=_float(self.ttl) * factor,
            stale_for=_float(self.stale_for) * factor,
            stale_on_error=_float(self.stale_on_error),
            tags=tags,
        )

    def entry_of_error(
        self, error: Exception, tags: Mapping[str, Generation], chance: float
    ) -> Entry | None:
        """The entry for what a loader raised; None where that is not kept.

        An error that would not come back as it was is not kept either.
        """
        if type(error) not in self.errors or _again(type(error), error.args) is None:
            return None
        value = [_name(type(error)), *error.args]
        return self._negative(value, tags, chance, raised=True)

    def error(self, entry: Entry) -> Exception | None:
        """What was raised, of an entry that stands for it; None where it is not known here."""
        name, *args = entry.value
        kind = next((kind for kind in self.errors if _name(kind) == name), None)
        return None if kind is None else _again(kind, tuple(args))

    def _negative(
        self, value: Any, tags: Mapping[str, Generation], chance: float, *, raised: bool
    ) -> Entry:
        ttl = _float(self.negative) * (1.0 - self.jitter * chance)
        return Entry(value=value, ttl=ttl, tags=tags, raised=raised)

    @classmethod
    def of(cls, ttl: object, default: "Lifetime") -> "Lifetime":
        """What a `ttl` option means: one of these, seconds, or None for `default`.

        Raises:
            ConfigurationError: none of these, or 0 seconds, which is more often a mistake than a
                wish: `Lifetime(ttl=0)` keeps nothing.
        """
        if ttl is None:
            return default
        if isinstance(ttl, cls):
            return ttl
        return replace(default, ttl=seconds(ttl, option="ttl"))  # type: ignore[arg-type]  # checked there


def _float(duration: Any) -> float:
    number: float = duration  # __post_init__ made it one
    return number


def _name(kind: type[Exception]) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _again(kind: type[Exception], args: tuple[Any, ...]) -> Exception | None:
    """The error made anew, if that gives the same."""
    try:
        error = kind(*args)
    except Exception:  # noqa: BLE001 - a constructor that takes something else
        return None
    return error if error.args == args else None


class TTL:
    """The study's times, by what is cached.

    ```python
    from symphonia_perf.cache import TTL, Cache, MemoryCacheStore

    cache = Cache(MemoryCacheStore())

    @cache.cached("pricing:{zone}", ttl=TTL.PRICING)
    async def load_pricing(zone: str) -> list[float]:
        return [9.5]
    ```
    """

    PLANS: Final = Lifetime(ttl=3600)  # subscription plans change rarely
    CARRIERS: Final = Lifetime(ttl=900)
    PRICING: Final = Lifetime(ttl=1800)
    HEALTH: Final = Lifetime(ttl=60)
    ORDERS: Final = Lifetime(ttl=0)  # they change too often: never cached
