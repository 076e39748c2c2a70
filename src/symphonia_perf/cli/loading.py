"""Finds the object that a user names as `MODULE:NAME`."""

import os
import sys
from importlib import import_module
from types import ModuleType

from symphonia_perf.errors import ConfigurationError
from symphonia_perf.mongo.indexes import IndexRegistry

__all__ = ["load_registry"]


def load_registry(target: str) -> IndexRegistry:
    """The registry behind `package.module:name`; the working directory is searched first.

    Raises:
        ConfigurationError: it cannot be imported, or is something else; says what was tried.
    """
    module_name, colon, name = target.partition(":")
    if not (module_name and colon and name):
        raise ConfigurationError(
            f"{target!r}: expected MODULE:REGISTRY, such as app.indexes:indexes"
        )
    module = _imported(module_name)
    found: object = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if isinstance(found, IndexRegistry):
        return found
    names = [key for key, value in vars(module).items() if isinstance(value, IndexRegistry)]
    there = f"it has {', '.join(names)}" if names else "it has none at module level"
    what = f"is a {type(found).__name__}, no IndexRegistry" if found is not None else "is not there"
    raise ConfigurationError(f"{target!r}: {name!r} {what}; {module_name!r} was imported, {there}")


def _imported(name: str) -> ModuleType:
    here = os.getcwd()  # noqa: PTH109 - sys.path holds text
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return import_module(name)
    except Exception as error:
        # Whatever a user's module raises while it is imported, and names that are no modules.
        tried = ", ".join(repr(path or here) for path in sys.path[:3])
        raise ConfigurationError(
            f"cannot import {name!r}: {type(error).__name__}: {error}; searched {tried} and "
            f"{max(len(sys.path) - 3, 0)} more folders"
        ) from error
