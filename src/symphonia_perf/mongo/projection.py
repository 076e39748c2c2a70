"""Projections: the named fields of a document instead of all of it.

What the server would refuse, and what it would take and silently misread, is refused here, with
the path that is to blame. Measured on MongoDB 6.0.5.
"""

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from symphonia_perf.errors import ProjectionError
from symphonia_perf.mongo._documents import is_ordinary, path_fault
from symphonia_perf.mongo._models import model_paths

__all__ = ["Field", "project"]

Field: TypeAlias = "str | type[Any] | Mapping[str, Any]"
"""A dotted path, a model, or `{"field": ["inner", ...]}`."""


def project(*fields: Field) -> dict[str, int]:
    """The projection that returns these fields, as `find()` takes it.

    A field is a dotted path; a mapping of a field to the fields in it; or a model, whose own fields
    are returned: a dataclass, a TypedDict, or a class with `model_fields` as pydantic's. `_id`
    comes along as MongoDB has it, unless `"-_id"` is among the fields.

    ```python
    from typing import TypedDict

    from symphonia_perf.mongo.projection import project

    class Place(TypedDict):
        city: str
        country: str

    class Summary(TypedDict):
        reference: str
        pickup: Place | None

    paths = {"reference": 1, "pickup.city": 1, "pickup.country": 1}
    assert project(Summary) == paths
    assert project("reference", {"pickup": ["city", "country"]}) == paths
    assert project("code", "-_id") == {"code": 1, "_id": 0}
    ```

    Raises:
        ProjectionError: the server would refuse the projection, or return something else than it
            says; names the path. Or a model's fields cannot be read.
    """
    projection: dict[str, int] = {}
    for given in fields:
        for path in [given] if isinstance(given, str) else _paths(given):
            name, wanted = ("_id", 0) if path == "-_id" else (_checked(path), 1)
            if name in projection:
                raise ProjectionError(f"{path!r}: {name!r} is named twice")
            projection[name] = wanted
    for path in projection:
        # 31249, 31250: path collision. Each proper prefix: a, a.b of a.b.c
        dot = path.find(".")
        while dot != -1:
            if (above := path[:dot]) in projection:
                raise ProjectionError(f"{path!r} is part of {above!r}; name one of them")
            dot = path.find(".", dot + 1)
    if 1 not in projection.values():
        shown = f"({fields[0]!r})" if len(fields) == 1 else repr(fields)
        raise ProjectionError(
            f"only{shown} names no field to return; name at least one, as in only('reference')"
        )
    return projection


def _paths(given: Any, above: str = "") -> Iterator[Any]:
    """The dotted paths that a mapping or a model stands for, below `above`."""
    if isinstance(given, Mapping):
        for name, inner in given.items():
            path = _checked(name, above)
            if inner is True or (type(inner) is int and inner == 1):
                yield path
            elif path == "_id" and type(inner) in (bool, int) and not inner:
                yield "-_id"
            elif isinstance(inner, Mapping | list | tuple | type):
                yield from _inside(inner, path)
            else:
                raise ProjectionError(_why_not(path, inner))
        return
    paths = model_paths(given)
    if paths is None:
        if isinstance(given, list | tuple | set | frozenset) and not above:
            raise ProjectionError(
                f"{given!r}: name each field as an argument of its own, as in only('a', 'b')"
            )
        fault = path_fault(given) or "is no field here"
        raise ProjectionError(f"the field {given!r} {fault}, or a model with annotated fields")
    yield from (f"{above}.{path}" if above else path for path in paths)


def _inside(inner: Any, path: str) -> Iterator[str]:
    """The paths of the fields named for the document or array at `path`."""
    found = False
    for each in inner if isinstance(inner, list | tuple) else [inner]:
        for below in [_checked(each, path)] if isinstance(each, str) else _paths(each, path):
            found = True
            yield below
    if not found:  # 51270: an empty sub-projection
        raise ProjectionError(f"{path!r}: {inner!r} names no field in it")


def _why_not(path: str, value: object) -> str:
    if isinstance(value, int | float) and not value:
        return (
            f"{path!r}: a projection names what to return, and only '_id' can be left out (31254)"
        )
    return (
        f"{path!r}: {value!r} would be returned in place of the field; expected 1, or the names "
        "of fields in it, as in {'address': ['city']}"
    )


def _checked(path: Any, above: str = "") -> str:
    if not (isinstance(path, str) and is_ordinary(path)):
        _refuse(path, above)
    return f"{above}.{path}" if above else path


def _refuse(given: Any, above: str) -> None:
    """Raise for a path that is none; return for an unusual one that works."""
    if isinstance(given, str) and given.startswith("-"):
        raise ProjectionError(
            f"{given!r}: a projection names what to return, and only '-_id' can be left out"
        )
    if fault := path_fault(given):
        if isinstance(given, str) and given.startswith("$") and above:
            fault += "; an operator of a projection is for the driver's own find()"
        raise ProjectionError(f"the field {given!r} {fault}")
    parts = f"{above}.{given}".split(".") if above else str(given).split(".")
    for number, part in enumerate(parts):
        if number and part.isascii() and part.isdigit():
            # `arr.0` gives empty objects: inside a projection a number is a field's name.
            array, path = ".".join(parts[:number]), ".".join(parts)
            raise ProjectionError(
                f"{path!r}: a projection cannot pick the element {part} of an array (the server "
                f"returns empty objects); name {array!r} and pick it from the result"
            )
