"""What each public import loads: counted in modules, which does not depend on the machine."""

import subprocess
import sys
from importlib.metadata import packages_distributions

import pytest

OURS = "symphonia_perf"
THIRD_PARTY = frozenset(packages_distributions()) - {OURS}

PROBE = """
import sys
before = set(sys.modules)
{statement}
print("\\n".join(sorted(set(sys.modules) - before)))
"""


def loaded_by(statement: str) -> set[str]:
    """The modules that `statement` adds to a fresh interpreter's own."""
    # -I: the user's environment must not decide; -S would hide the editable install.
    done = subprocess.run(
        [sys.executable, "-I", "-c", PROBE.format(statement=statement)],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


# Statement -> (third-party packages it may load, at most so many modules in all).
BUDGET = {
    "import symphonia_perf": (set(), 1),
    "import symphonia_perf.errors": (set(), 40),
    "from symphonia_perf.mongo import PoolOptions": (set(), 110),
    "from symphonia_perf.mongo import Query": (set(), 90),
    "from symphonia_perf.mongo import Index, IndexRegistry": (set(), 120),
    "from symphonia_perf.cache import Cache, MemoryCacheStore": (set(), 160),
    "from symphonia_perf.redis import Commands": (set(), 90),
    "from symphonia_perf.loadtest import Plan": (set(), 160),
    "import symphonia_perf.testing": (set(), 45),
}


@pytest.mark.parametrize("statement", BUDGET)
def test_an_import_loads_no_more_than_it_needs(statement: str) -> None:
    packages, at_most = BUDGET[statement]
    loaded = loaded_by(statement)
    foreign = {name.partition(".")[0] for name in loaded} & THIRD_PARTY
    assert foreign == packages
    assert len(loaded) <= at_most, sorted(loaded)


def test_the_root_loads_nothing_of_ours_but_itself() -> None:
    assert loaded_by("import symphonia_perf") == {OURS}


@pytest.mark.parametrize(
    ("statement", "packages"),
    [
        ("from symphonia_perf.mongo import create_async_client", {"bson", "pymongo"}),
        ("from symphonia_perf.redis import wrap", {"redis"}),
        # They take the service's own clients and databases.
        ("from symphonia_perf.cache import TieredCacheStore", {"msgspec"}),
        ("from symphonia_perf.cache import ChangeStreamInvalidator", {"msgspec"}),
    ],
)
def test_a_driver_is_loaded_by_the_name_that_needs_it(statement: str, packages: set[str]) -> None:
    foreign = {name.partition(".")[0] for name in loaded_by(statement)} & THIRD_PARTY
    # A driver brings what it likes; what counts is that no other block's driver comes along.
    drivers = {"aiohttp", "bson", "click", "gridfs", "motor", "msgspec", "pymongo", "pytest"}
    drivers |= {"redis", "rich", "starlette"}
    assert foreign & drivers == packages
