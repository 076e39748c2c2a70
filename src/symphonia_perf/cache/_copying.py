"""How every reader gets an object of its own: a copy of containers, or a value kept as bytes."""

from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import cache, partial
from typing import Any, TypeAlias
from uuid import UUID

from symphonia_perf.errors import NotEncodable

__all__ = ["ATOMS", "Make", "copied", "packed", "size_of"]

Make: TypeAlias = Callable[[], Any] | None
"""Makes a reader's object; None: the value itself, which nobody can change."""

ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes})
_IMMUTABLE = {*ATOMS, datetime, date, time, timedelta, UUID, Decimal}


def copied(value: Any) -> tuple[Any, Make] | None:
    """A private copy of plain data and what copies it again; None where it is not plain.

    Containers are copied one by one, and what nobody can change is shared. For an order of 2 KB
    that takes 2.6 us, where msgspec reads the same from bytes in 5.2 and pickle in 7.4; in turn the
    copy that is kept takes several times the room.
    """
    try:
        return _copied(value)
    except (_NotPlainError, RecursionError):
        return None


class _NotPlainError(Exception):
    pass


def _copied(value: Any) -> tuple[Any, Make]:
    kind = type(value)
    if kind in _IMMUTABLE:
        return value, None
    if (copy := _COPIES.get(kind)) is not None:
        return copy(value)
    if kind.__name__ == "ObjectId" and kind.__module__ == "bson.objectid":
        return value, None  # by name: a cache must not import a database driver
    raise _NotPlainError


def _copied_dict(value: dict[Any, Any]) -> tuple[Any, Make]:
    kept: dict[Any, Any] = {}
    parts: list[tuple[Any, Callable[[], Any]]] = []
    for key, item in value.items():
        if type(key) not in ATOMS:
            _copied(key)  # what can be hashed and is plain cannot be changed
        kept[key], make = _copied(item)
        if make is not None:
            parts.append((key, make))
    return kept, partial(_with, kept, parts) if parts else kept.copy


def _copied_list(value: list[Any]) -> tuple[Any, Make]:
    rows, makes = _rows(value)
    parts = [(place, make) for place, make in enumerate(makes) if make is not None]
    if not parts:
        return rows, rows.copy
    if all(type(row) is dict and make == row.copy for row, make in zip(rows, makes, strict=True)):
        return rows, partial(_flat_rows, rows)
    return rows, partial(_with, rows, parts)


def _copied_tuple(value: tuple[Any, ...]) -> tuple[Any, Make]:
    rows, makes = _rows(value)
    return tuple(rows), partial(_tuple, rows, makes) if any(makes) else None


def _copied_set(value: set[Any]) -> tuple[Any, Make]:
    kept = set(_rows(value)[0])
    return kept, kept.copy


def _copied_frozenset(value: frozenset[Any]) -> tuple[Any, Make]:
    _rows(value)
    return value, None


_COPIES: dict[type, Callable[[Any], tuple[Any, Make]]] = {
    dict: _copied_dict,
    list: _copied_list,
    tuple: _copied_tuple,
    set: _copied_set,
    frozenset: _copied_frozenset,
}


def _rows(values: Any) -> tuple[list[Any], list[Make]]:
    pairs = [_copied(item) for item in values]
    return [item for item, _ in pairs], [make for _, make in pairs]


def _with(kept: Any, parts: list[tuple[Any, Callable[[], Any]]]) -> Any:
    copy = kept.copy()
    for place, make in parts:
        copy[place] = make()
    return copy


def _flat_rows(rows: list[dict[Any, Any]]) -> list[dict[Any, Any]]:
    return list(map(dict.copy, rows))


def _tuple(rows: list[Any], makes: list[Make]) -> tuple[Any, ...]:
    return tuple(row if make is None else make() for row, make in zip(rows, makes, strict=True))


def size_of(atom: Any) -> int:
    """Bytes that a value of `ATOMS` takes beside its object."""
    if isinstance(atom, str):
        # A lone surrogate is legal in a str, and has bytes of its own here.
        return len(atom) if atom.isascii() else len(atom.encode("utf-8", "surrogatepass"))
    if isinstance(atom, bytes):
        return len(atom)
    return 8 + atom.bit_length() // 8 if isinstance(atom, int) else 16


def packed(value: Any) -> tuple[bytes, Callable[[], Any]]:
    """The value as bytes that never leave the process, and what makes a copy of them.

    Plain data is read faster by msgspec than by pickle, where msgspec is installed, and faster
    still without the hook for types that are not plain. Pickle knows all the rest.

    Raises:
        NotEncodable: it cannot be copied.
    """
    if (tools := _tools()) is not None:
        codec, decode = tools
        try:
            data = codec.encode(value)
        except NotEncodable:
            pass  # a class of the service's own
        else:
            body = data[1:]
            # Other types would come back as extensions, which equal nothing.
            if decode(body) == value:
                return body, partial(decode, body)
            return data, partial(codec.decode, data)
    import pickle  # noqa: PLC0415 - the usual value needs none

    try:
        data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    except Exception as error:  # any class may say no in its own way
        raise NotEncodable(
            f"a {type(value).__name__} that cannot be copied by pickle: {error}; store plain data,"
            " or share it with copy=False",
            store="memory",
            operation="set",
        ) from error
    return data, partial(pickle.loads, data)


@cache
def _tools() -> tuple[Any, Callable[[bytes], Any]] | None:
    try:
        import msgspec  # noqa: PLC0415 - when there is one

        from symphonia_perf._core.codecs import MsgpackCodec  # noqa: PLC0415 - the same
    except ModuleNotFoundError:
        return None
    return MsgpackCodec(), msgspec.msgpack.Decoder().decode
