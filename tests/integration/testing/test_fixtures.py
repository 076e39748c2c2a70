"""The fixtures, as a user's own pytest run sees them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from symphonia_perf.testing.servers import RedisServer

CONFTEST = """
pytest_plugins = ["symphonia_perf.testing.fixtures"]
"""

NO_BINARIES = """
from symphonia_perf.testing.servers import binaries
binaries.find_spec = lambda name: None
"""

TAKES_URLS = """
def test_redis(redis_url):
    assert redis_url == {redis!r}

def test_mongo(mongo_url):
    assert mongo_url == {mongo!r}
"""


def run(folder: Path, *, conftest: str, tests: str, **environment: str) -> tuple[int, str]:
    (folder / "conftest.py").write_text(conftest)
    (folder / "test_it.py").write_text(tests)
    (folder / "pytest.ini").write_text("[pytest]\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-ra", "-p", "no:cacheprovider", "-p", "no:valkey"],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.fixture(autouse=True)
def _no_servers_of_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REQUIRE_SERVERS", "SYMPHONIA_TEST_REDIS_URL", "SYMPHONIA_TEST_MONGODB_URI"):
        monkeypatch.delenv(name, raising=False)


def test_no_binary_skips_with_the_reason(tmp_path: Path) -> None:
    tests = TAKES_URLS.format(redis="", mongo="")
    code, said = run(tmp_path, conftest=CONFTEST + NO_BINARIES, tests=tests, PATH="/nowhere")
    assert code == 0
    assert "2 skipped" in said
    assert "pip install 'symphonia-perf[testing]'" in said


def test_no_binary_fails_where_servers_are_required(tmp_path: Path) -> None:
    tests = TAKES_URLS.format(redis="", mongo="")
    code, said = run(
        tmp_path,
        conftest=CONFTEST + NO_BINARIES,
        tests=tests,
        PATH="/nowhere",
        REQUIRE_SERVERS="1",
    )
    assert code == 1
    assert "2 errors" in said
    assert "ServerNotFound: no mongod found" in said


def test_servers_of_the_environment_come_first(tmp_path: Path, redis_server: RedisServer) -> None:
    url = f"redis://127.0.0.1:{redis_server.port}/5"
    redis_server.ask("FLUSHALL")
    redis_server.ask("SET", "another-database", "1")
    uri = "mongodb://127.0.0.1:1/?replicaSet=rs0"
    code, said = run(
        tmp_path,
        conftest=CONFTEST + NO_BINARIES,
        tests=TAKES_URLS.format(redis=url, mongo=uri),
        SYMPHONIA_TEST_REDIS_URL=url,
        SYMPHONIA_TEST_MONGODB_URI=uri,
    )
    assert code == 0, said
    assert "2 passed" in said
    assert redis_server.ask("GET", "another-database") == "1"


def test_the_database_of_the_environment_is_emptied(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    url = f"redis://127.0.0.1:{redis_server.port}/0"
    redis_server.ask("SET", "k", "left over")
    monkeypatch.setenv("SYMPHONIA_TEST_REDIS_URL", url)
    assert request.getfixturevalue("redis_url") == url
    assert redis_server.ask("DBSIZE") == "0"


def test_an_earlier_test_may_have_killed_or_paused_the_server(tmp_path: Path) -> None:
    code, said = run(
        tmp_path,
        conftest=CONFTEST,
        tests="""
def test_kills(redis_server):
    redis_server.kill()

def test_gets_a_running_empty_one(redis_server, redis_url):
    assert redis_server.ask("DBSIZE") == "0"
    redis_server.ask("SET", "k", "v")
    redis_server.pause()

def test_gets_an_empty_one_again(redis_server, redis_url):
    assert redis_server.ask("DBSIZE") == "0"

def test_kills_the_mongod(mongo_server):
    mongo_server.members[0].kill()

def test_gets_a_primary(mongo_server, mongo_url):
    assert mongo_server.uri == mongo_url
    assert mongo_server.members[0].ask({"hello": 1})["isWritablePrimary"]
""",
        # In this order.
        PYTEST_ADDOPTS="-p no:randomly",
    )
    assert code == 0, said
    assert "5 passed" in said
