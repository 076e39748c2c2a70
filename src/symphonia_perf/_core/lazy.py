"""Blocks load what is asked for, when it is asked for (PEP 562).

`import symphonia_perf.mongo` must not pay for PyMongo (100 ms) before a client is made, and a
missing driver must be one clear sentence instead of a traceback from somewhere inside.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

from symphonia_perf.errors import MissingExtra

__all__ = ["EXTRA_OF", "lazy_exports"]

# Top-level module -> the extra that brings it. tests/packaging holds this against pyproject.toml.
EXTRA_OF = {
    "aiohttp": "loadtest",
    "anyio": "testing",
    "bson": "mongo",
    "click": "cli",
    "hiredis": "redis",
    "motor": "motor",
    "msgspec": "redis",
    "pymongo": "mongo",
    "pytest": "testing",
    "redis": "redis",
    "rich": "cli",
    "starlette": "web",
    "tenacity": "redis",
    "zstandard": "redis",
}


def missing_extra(error: ModuleNotFoundError) -> MissingExtra | None:
    """The clear form of a failed import, or None when the module is not one of our extras."""
    module = (error.name or "").partition(".")[0]
    extra = EXTRA_OF.get(module)
    return MissingExtra(module, extra) if extra else None


def lazy_exports(
    package: str, exports: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` for a package whose names live in its modules.

    Args:
        package: the package's `__name__`.
        exports: module name -> the public names that live in it.

    Returns:
        The two functions to bind at module level. The first raises `MissingExtra` when a driver is
        not installed, `AttributeError` for a name that does not exist.
    """
    home = {name: module for module, names in exports.items() for name in names}

    def __getattr__(name: str) -> Any:  # noqa: N807 - PEP 562 names it
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            module = import_module(f"{package}.{home[name]}")
        except ModuleNotFoundError as error:
            if clear := missing_extra(error):
                raise clear from error
            raise
        value = getattr(module, name)
        # Next time the name is found without this function.
        setattr(import_module(package), name, value)
        return value

    def __dir__() -> list[str]:  # noqa: N807 - PEP 562 names it
        return sorted({*vars(import_module(package)), *home})

    return __getattr__, __dir__
