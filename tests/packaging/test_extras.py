"""A missing extra is one clear sentence, and a bare install still works."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from symphonia_perf._core.lazy import EXTRA_OF, lazy_exports, missing_extra
from symphonia_perf.errors import MissingExtra

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Distributions whose import name differs.
IMPORT_NAMES = {"pymongo": ("pymongo", "bson")}

BLOCKER = """
import sys
from importlib.abc import MetaPathFinder

class Missing(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
{code}
"""


def run_without(blocked: set[str], code: str) -> str:
    """What `code` prints in an interpreter where these packages are not installed."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", BLOCKER.format(blocked=blocked, code=code)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def distributions(extra: str) -> set[str]:
    """The import names an extra brings."""
    names = set()
    for requirement in PROJECT["optional-dependencies"][extra]:
        name = requirement.split(";")[0].split("[")[0].split("=")[0].split(">")[0].strip()
        names.update(IMPORT_NAMES.get(name, (name,)))
    return names


def test_the_library_depends_on_nothing() -> None:
    assert PROJECT["dependencies"] == []


@pytest.mark.parametrize(("module", "extra"), EXTRA_OF.items())
def test_each_module_is_brought_by_the_extra_that_the_error_names(module: str, extra: str) -> None:
    assert module in distributions(extra)


def test_all_is_every_extra_but_testing() -> None:
    extras = PROJECT["optional-dependencies"]
    inside = extras["all"][0].partition("[")[2].rstrip("]").split(",")
    assert set(inside) == set(extras) - {"all", "testing"}


@pytest.mark.parametrize(
    ("statement", "missing", "extra"),
    [
        ("from symphonia_perf.mongo import create_client", "pymongo", "mongo"),
        ("from symphonia_perf.redis import wrap", "redis", "redis"),
        (
            "from symphonia_perf.mongo import create_motor_client; create_motor_client()",
            "motor",
            "motor",
        ),
    ],
)
def test_a_missing_driver_names_its_extra(statement: str, missing: str, extra: str) -> None:
    code = f"""
from symphonia_perf.errors import MissingExtra
try:
    {statement}
except MissingExtra as error:
    print(error.extra, "|", error)
"""
    said = run_without({missing}, code)
    assert said == (
        f"{extra} | {missing!r} is not installed; run: pip install 'symphonia-perf[{extra}]'"
    )


def test_a_bare_install_caches_in_memory_and_plans_indexes() -> None:
    code = """
import asyncio
from symphonia_perf.cache import Cache, MemoryCacheStore
from symphonia_perf.mongo import Index, IndexRegistry, PoolOptions, Query

async def main():
    async with Cache(MemoryCacheStore()) as cache:
        @cache.cached("plan:{plan_id}")
        async def load(plan_id: str) -> dict[str, str]:
            return {"_id": plan_id}
        print(await load("1"), await load("1"))

asyncio.run(main())
PoolOptions()
Query({}).only("a").find_kwargs()
registry = IndexRegistry()
registry.add("orders", Index("status"))
print(len(registry.diff({}).changes))
"""
    assert run_without(set(EXTRA_OF), code) == "{'_id': '1'} {'_id': '1'}\n1"


def test_a_module_that_is_no_extra_of_ours_is_not_dressed_up() -> None:
    assert missing_extra(ModuleNotFoundError("no", name="left_pad")) is None
    assert missing_extra(ModuleNotFoundError("no")) is None


def test_a_bug_inside_a_block_is_not_hidden_as_a_missing_extra() -> None:
    getter, _ = lazy_exports("symphonia_perf.cache", {"no_such_module": ("Thing",)})
    with pytest.raises(ModuleNotFoundError) as caught:
        getter("Thing")
    assert not isinstance(caught.value, MissingExtra)
