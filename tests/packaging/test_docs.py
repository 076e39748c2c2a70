"""Every public name is on the documentation site."""

import dataclasses
import importlib
import inspect
import os
import re
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

import symphonia_perf
from symphonia_perf.redis import RedisOptions, RedisStats

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "redis.md"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def inventory(site: Path) -> set[str]:
    """The names in objects.inv: four comment lines, then zlib-packed lines, a name first."""
    packed = (site / "objects.inv").read_bytes().split(b"\n", 4)[4]
    return {line.split(" ")[0] for line in zlib.decompress(packed).decode().splitlines()}


def test_every_public_name_is_in_the_inventory(site: Path) -> None:
    documented = inventory(site)
    missing = [
        f"symphonia_perf.{block}.{name}"
        for block in symphonia_perf.__all__
        if inspect.ismodule(getattr(symphonia_perf, block))
        for name in importlib.import_module(f"symphonia_perf.{block}").__all__
        if f"symphonia_perf.{block}.{name}" not in documented
    ]
    assert not missing
    assert "symphonia_perf.lifespan" in documented


def test_the_tables_of_redis_say_what_the_code_does() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (?:`([^`]+)` \|)?", PAGE.read_text(), re.MULTILINE)
    options = [each for each in dataclasses.fields(RedisOptions) if each.init]
    stats = [(each.name, "") for each in dataclasses.fields(RedisStats)]
    assert rows == [(each.name, repr(each.default)) for each in options] + stats


def test_the_site_asks_no_other_host(site: Path) -> None:
    pages = "".join(page.read_text() for page in site.rglob("*.html"))
    assert "fonts.googleapis" not in pages
    assert 'src="http' not in pages
    assert '<link rel="stylesheet" href="http' not in pages
