"""Projections: the named fields of a document instead of all of it.

What the server would refuse, and what it would take and silently misread, is refused here, with
the path that is to blame. Measured on MongoDB 6.0.5.
"""

from itertools import accumulate
from typing import Any

from symphonia_perf.errors import ProjectionError
from symphonia_perf.mongo._documents import is_ordinary, path_fault

__all__ = ["project"]


def project(*fields: str) -> dict[str, int]:
    """The projection that returns these fields, as `find()` takes it.

    `_id` comes along as MongoDB has it, unless `"-_id"` is among the fields.

    ```python
    from symphonia_perf.mongo.projection import project

    assert project("reference", "pickupLocation.city") == {"reference": 1, "pickupLocation.city": 1}
    assert project("code", "-_id") == {"code": 1, "_id": 0}
    ```

    Raises:
        ProjectionError: the server would refuse the projection, or return something else than it
            says; names the path.
    """
    projection: dict[str, int] = {}
    for given in fields:
        path, wanted = ("_id", 0) if given == "-_id" else (_checked(given), 1)
        if path in projection:
            raise ProjectionError(f"{given!r}: {path!r} is named twice")
        projection[path] = wanted
    for path in projection:
        # 31249, 31250: path collision. Each proper prefix: a, a.b of a.b.c
        for above in accumulate(path.split(".")[:-1], "{}.{}".format):
            if above in projection:
                raise ProjectionError(f"{path!r} is part of {above!r}; name one of them")
    if 1 not in projection.values():
        raise ProjectionError(
            f"only{fields!r} names no field to return; name at least one, as in only('reference')"
        )
    return projection


def _checked(path: Any) -> str:
    if isinstance(path, str) and is_ordinary(path):
        return path
    if isinstance(path, str) and path.startswith("-"):
        raise ProjectionError(
            f"{path!r}: a projection names what to return, and only '-_id' can be left out"
        )
    if fault := path_fault(path):
        raise ProjectionError(f"the field {path!r} {fault}")
    first, *parts = str(path).split(".")
    for number, part in enumerate(parts):
        if part.isascii() and part.isdigit():
            # `arr.0` gives empty objects: inside a projection a number is a field's name.
            array = ".".join([first, *parts[:number]])
            raise ProjectionError(
                f"{path!r}: a projection cannot pick the element {part} of an array (the server "
                f"returns empty objects); name {array!r} and pick it from the result"
            )
    return str(path)
