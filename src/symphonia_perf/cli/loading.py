"""Finds the object that a user names as `MODULE:NAME`."""

import os
import sys
from contextlib import redirect_stdout
from importlib import import_module
from traceback import walk_tb
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
    if not (module_name and colon and name) or module_name.startswith(".") or "/" in target:
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
    if callable(found):
        what += " (what it returns may be one: give that a name)"
    raise ConfigurationError(f"{target!r}: {name!r} {what}; {module_name!r} was imported, {there}")


def _imported(name: str) -> ModuleType:
    here = os.getcwd()  # noqa: PTH109 - sys.path holds text
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        with redirect_stdout(sys.stderr):  # what it prints is none of our JSON
            return import_module(name)
    except (Exception, SystemExit) as error:
        # Whatever a user's module raises while it is imported, and names that are no modules.
        where = _place(error, name.partition(".")[0]) or _searched(here)
        raise ConfigurationError(
            f"cannot import {name!r}: {type(error).__name__}: {error}; {where}"
        ) from error


def _place(error: BaseException, package: str) -> str | None:
    """The last line of the user's own that ran; None when none did, so nothing was found."""
    places = [
        f"{os.path.relpath(frame.f_code.co_filename)}, line {line}"
        for frame, line in walk_tb(error.__traceback__)
        if frame.f_globals.get("__name__", "").partition(".")[0] == package
    ]
    return f"raised in {places[-1]}" if places else None


def _searched(here: str) -> str:
    tried = ", ".join(repr(path or here) for path in sys.path[:3])
    return f"searched {tried} and {max(len(sys.path) - 3, 0)} more folders"
