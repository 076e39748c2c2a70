"""What a registry is given: checked where it is given, so that a mistake fails at import."""

from collections.abc import Collection, Iterable, Mapping

from symphonia_perf.errors import ConfigurationError
from symphonia_perf.mongo._documents import is_sayable
from symphonia_perf.mongo._findings import ExistingIndexes
from symphonia_perf.mongo._index import Index

__all__ = ["check_collection", "check_existing", "check_index", "checked_collections"]


def check_collection(name: object) -> None:
    """Return when it can be a collection's name.

    https://www.mongodb.com/docs/manual/reference/limits/#naming-restrictions

    Raises:
        ConfigurationError: it cannot.
    """
    if (
        not isinstance(name, str)
        or not name
        or name.startswith(".")
        or {"$", "\0"} & set(name)
        or not is_sayable(name)
    ):
        raise ConfigurationError(f"{name!r}: expected a collection's name")


def checked_collections(names: object) -> Collection[str] | None:
    """The names of collections, or None.

    Raises:
        ConfigurationError: they are something else.
    """
    if names is None:
        return None
    if isinstance(names, str) or not isinstance(names, Collection):
        raise ConfigurationError(f"collections={names!r}: expected a list of names")
    for name in names:
        check_collection(name)
    return names


def check_index(collection: str, index: object) -> None:
    """Return when it is an index.

    Raises:
        ConfigurationError: it is something else, perhaps a list of them.
    """
    if not isinstance(index, Index):
        several = isinstance(index, Iterable) and not isinstance(index, str | Mapping)
        hint = f"; write add({collection!r}, *indexes)" if several else ""
        raise ConfigurationError(f"{collection}: {index!r} is not an Index{hint}")


def check_existing(existing: object, server: object) -> None:
    """Return when these can be compared with declarations.

    Raises:
        ConfigurationError: not collection -> `ExistingIndexes`, or not a version.
    """
    if not isinstance(existing, Mapping):
        raise ConfigurationError(
            f"existing={existing!r}: expected collection -> ExistingIndexes(indexes=...)"
        )
    for name, found in existing.items():
        if not isinstance(found, ExistingIndexes):
            raise ConfigurationError(
                f"existing[{name!r}]={found!r}: expected ExistingIndexes(indexes=...)"
            )
    match server:
        case None | (int(), int()):
            return
    raise ConfigurationError(f"server={server!r}: expected a version such as (6, 0)")
