"""What callers hand us: lists, functions and stores, checked before anything is done with them.

Of what may be personal, or hold a password, the messages show the kind and not the value.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from symphonia_perf._core.clock import Clock, SystemClock
from symphonia_perf.errors import ConfigurationError

if TYPE_CHECKING:
    from symphonia_perf._core.codecs import Codec

__all__ = [
    "checked_codec",
    "checked_function",
    "checked_mapping",
    "checked_observer",
    "checked_store",
    "listed",
    "steady",
]

_STORE = ("get_many", "set_many", "delete_many", "delete_matching", "bump_tags", "lease")


def listed(option: str, texts: Iterable[Any], *, of: str = "") -> Iterable[Any]:
    """The texts, which nobody has looked at yet; one text alone is a mistake."""
    given: object = texts
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        hint = f", as in [{given!r}]" if isinstance(given, str) else ""
        raise ConfigurationError(f"{option}={given!r}: expected a list of {of or option}{hint}")
    return texts


def checked_mapping(option: str, values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Values by key."""
    given: object = values
    if not isinstance(given, Mapping):
        kind = type(given).__name__
        raise ConfigurationError(f"{option}: expected a dict of {option} by their keys, not {kind}")
    return values


def checked_function(option: str, function: Any, expected: str) -> Callable[..., Any]:
    """What can be called."""
    if not callable(function):
        raise ConfigurationError(f"{option}={function!r:.100}: expected {expected}")
    called: Callable[..., Any] = function
    return called


def checked_observer(observer: Any) -> None:
    """Return if it can be told of events, or is None."""
    if observer is not None:
        checked_function("observer", observer, "a function that takes an event, or None")


def checked_codec(codec: "Codec") -> "Codec":
    """What has the methods of a codec."""
    for name in ("encode", "decode"):
        if isinstance(codec, type) or not callable(getattr(codec, name, None)):
            raise ConfigurationError(f"codec={codec!r:.100}: expected a Codec, as MsgpackCodec()")
    return codec


def steady(clock: Clock | None) -> Callable[[], float]:
    """A clock's monotonic time; without one the system's."""
    if clock is None:
        return SystemClock.monotonic
    now = getattr(clock, "monotonic", None)
    if isinstance(clock, type) or not callable(now):
        raise ConfigurationError(f"clock={clock!r:.100}: expected a Clock, with monotonic()")
    return clock.monotonic


def checked_store(store: Any) -> Any:
    """What has the methods of a cache store; a client has others."""
    missing = [name for name in _STORE if not callable(getattr(store, name, None))]
    if not missing and not isinstance(store, type):
        return store
    kind = f"{type(store).__module__}.{type(store).__qualname__}"
    if isinstance(store, type):
        hint = f"an object of {store.__name__}, not the class"
    elif callable(getattr(store, "execute_many", None)):
        hint = "a store over it: Cache(RedisCacheStore(redis))"
    elif hasattr(store, "execute_command"):
        hint = "a store over it: Cache(RedisCacheStore(wrap(client)))"
    else:
        hint = f"a CacheStore; this one has no {missing[0]}"
    raise ConfigurationError(f"store={kind}: expected {hint}")
