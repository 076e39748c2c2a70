"""Performance blocks for Python services on MongoDB and Redis or Valkey.

Import a block, not the root: `from symphonia_perf.cache import Cache`. The root itself imports
nothing, so that a block costs only what it needs.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import cache as cache
    from . import errors as errors
    from . import loadtest as loadtest
    from . import mongo as mongo
    from . import redis as redis
    from . import testing as testing
    from . import typing as typing
    from ._core.lifespan import lifespan as lifespan

    __version__: str
else:

    def __getattr__(name):
        """The blocks, and `__version__` from the installed metadata, on first use (PEP 562)."""
        if name == "__version__":
            from importlib.metadata import version

            return version("symphonia-perf")
        if name in __all__:
            from importlib import import_module

            if name == "lifespan":
                return import_module("symphonia_perf._core.lifespan").lifespan
            return import_module(f"symphonia_perf.{name}")
        raise AttributeError(f"module 'symphonia_perf' has no attribute {name!r}")

    def __dir__():
        return sorted({*globals(), *__all__})


__all__ = [
    "__version__",
    "cache",
    "errors",
    "lifespan",
    "loadtest",
    "mongo",
    "redis",
    "testing",
    "typing",
]
