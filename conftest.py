"""What all tests share, in `tests/`, `examples/`, `docs/` and docstrings alike."""

import signal
from pathlib import Path

import pytest

from tests import fences

pytest_plugins = ["symphonia_perf.testing.fixtures"]

# A shell starts what runs in its background deaf to Ctrl-C, and children inherit that: tests that
# interrupt a child would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio.

    A test that should also run on uvloop says so with
    `@pytest.mark.parametrize("anyio_backend", ["asyncio", ("asyncio", {"use_uvloop": True})])`.
    """
    return "asyncio"


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Run the Python blocks of README, docs and docstrings."""
    return fences.collect(file_path, parent)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the blocks of a page together and in order."""
    fences.keep_page_order(items)
