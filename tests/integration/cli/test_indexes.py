"""`symphonia-perf indexes ...` against a real server."""

import json
import os
import pty
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database

from symphonia_perf.cli.entry import run

pytestmark = pytest.mark.mongo

NAME = "symphonia_test_cli"

MODULE = """
from symphonia_perf.mongo import Index, IndexRegistry, Query

indexes = IndexRegistry()
indexes.add(
    "orders",
    Index("status", "-at", name="by_status", serves=[Query({"status": "OPEN"}).sort("-at")]),
    Index("at", expire_after=3600),
    Index("code", unique=True),
)
indexes.retire("orders", "old_1", observe=0)
not_one = 7
"""


@dataclass(frozen=True, slots=True)
class Said:
    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found


Command = Callable[..., Said]


@pytest.fixture
def db(mongo_url: str) -> Iterator[Database[dict[str, Any]]]:
    with MongoClient[dict[str, Any]](mongo_url) as client:
        client.drop_database(NAME)
        yield client[NAME]
        client.drop_database(NAME)


@pytest.fixture
def command(
    db: Database[dict[str, Any]],
    mongo_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Command:
    module = f"declared_{tmp_path.name}".replace("-", "_")  # a name that nothing else imported
    (tmp_path / f"{module}.py").write_text(textwrap.dedent(MODULE))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def command(name: str, *options: str, target: str = "indexes") -> Said:
        where = ["--uri", mongo_url, "--database", db.name]
        capfd.readouterr()
        code = run(["indexes", name, f"{module}:{target}", *where, *options])
        out, err = capfd.readouterr()
        return Said(code, out, err)

    return command


def test_from_drift_to_clean(command: Command, db: Database[Any]) -> None:
    db["orders"].create_index("at", expireAfterSeconds=60)
    db["orders"].create_index("old")
    drift = command("plan")
    assert drift.code == 2
    assert drift.out.splitlines() == [
        "+ orders: by_status {status: 1, at: -1}",
        "+ orders: code_1 {code: 1} unique=true",
        "~ orders: at_1 expireAfterSeconds 60 -> 3600",
        "~ orders: old_1 {old: 1} is retired: hide it, drop it after 0 s",
        "2 to create, 1 to modify, 1 to hide, 0 kept, 0 in conflict, 0 unmanaged",
    ]
    applied = command("apply", "--timeout", "30s")
    assert applied.code == 0
    assert applied.out.splitlines()[-1] == (
        "Done: 0 to create, 1 to drop, 3 kept, 0 in conflict, 0 unmanaged."
    )
    assert command("plan").code == 2  # it was hidden for 0 s: to be dropped by who says so
    assert command("apply").code == 0
    assert "old_1" in db["orders"].index_information()
    dropped = command("apply", "--drop", "--json")
    assert dropped.code == 0
    assert [item["action"] for item in dropped.document["before"]["changes"]] == ["drop"]
    assert dropped.document["after"]["drift"] is False
    assert "old_1" not in db["orders"].index_information()
    clean = command("plan")
    assert (clean.code, clean.err) == (0, "")
    assert command("apply").out == clean.out  # nothing was done, so nothing is told


def test_a_plan_for_machines(command: Command, db: Database[Any]) -> None:
    db["orders"].create_index("code", sparse=True)
    db["orders"].create_index("foreign")
    said = command("plan", "--json")
    assert said.code == 2
    plan = said.document
    assert (plan["database"], plan["drift"]) == (NAME, True)
    assert plan["changes"][0] == {
        "action": "create",
        "name": "by_status",
        "collection": "orders",
        "specification": {"key": {"status": 1, "at": -1}, "name": "by_status"},
        "building": False,
    }
    (conflict,) = plan["conflicts"]
    assert (conflict["name"], conflict["code"], conflict["gap"]) == ("code_1", 86, True)
    assert plan["unmanaged"][0]["specification"]["name"] == "foreign_1"


def test_a_conflict_is_an_error_until_a_gap_is_allowed(command: Command, db: Database[Any]) -> None:
    db["orders"].create_index("code", sparse=True)
    refused = command("apply")
    assert refused.code == 1
    assert refused.err == (
        "Error: orders: code_1 exists with unique unset instead of true, sparse true instead of "
        "unset: declare the new index under a new name (or allow_gap=True, --allow-gap)\n"
    )
    assert command("apply", "--allow-gap").code == 0
    assert db["orders"].index_information()["code_1"]["unique"] is True


def test_verify_and_unused(command: Command, db: Database[Any]) -> None:
    command("apply")
    db["orders"].insert_many([{"status": "OPEN", "at": n, "code": n} for n in range(50)])
    fine = command("verify")
    assert fine.code == 0
    assert fine.out == "orders: by_status for {status: 'OPEN'} sorted by {at: -1}: wins\n"
    assert command("verify", "--json").document["queries"][0]["fault"] is None
    idle = command("unused", "--observed", "0s")
    assert idle.code == 2
    assert re.fullmatch(r"orders: by_status: not used for \d+ s on 1 member\n", idle.out)
    told = command("unused", "--observed", "0s", "--json").document
    assert [item["name"] for item in told["unused"]] == ["by_status"]
    young = command("unused")
    assert young.code == 0
    assert re.fullmatch(
        r"Undecided: 1 without a use, but counted for less than 7 d \(at most \d+ s on 1 member\); "
        r"ask again later\.\n",
        young.out,
    )
    told = command("unused", "--json").document
    assert ([item["name"] for item in told["undecided"]], told["unused"]) == (["by_status"], [])
    list(db["orders"].find({"status": "OPEN"}))
    assert command("unused").out == "Every index is used.\n"
    db["orders"].drop_indexes()
    lost = command("verify")
    assert lost.code == 2
    assert "a scan of the collection wins" in lost.out
    assert command("verify", "--json").document["queries"][0]["used"] == []


def test_verify_without_a_document_says_why_it_fails(command: Command) -> None:
    said = command("verify")
    assert said.code == 2
    assert "the collection is empty" in said.out


def test_export(command: Command, db: Database[Any], mongo_url: str) -> None:
    command("apply")
    db["carriers"].create_index("name")
    some = command("export")
    assert some.code == 0
    assert "carriers" not in some.out
    code = run(["indexes", "export", "--uri", mongo_url, "--database", NAME])
    assert code == 0
    names: dict[str, Any] = {}
    exec(command("export", "--json").document["source"], names)
    assert names["indexes"].plan_sync(db).is_empty


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("not_one", "'not_one' is a int, no IndexRegistry; 'declared_"),
        ("missing", "'missing' is not there; 'declared_"),
        ("", "expected MODULE:REGISTRY, such as app.indexes:indexes"),
    ],
)
def test_a_registry_that_is_none(command: Command, target: str, message: str) -> None:
    said = command("plan", target=target)
    assert said.code == 1
    assert message in said.err
    assert said.err.count("\n") == 1
    if target:
        assert "it has indexes" in said.err


def test_the_database_comes_from_the_uri(
    command: Command,
    db: Database[Any],
    mongo_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command("apply")
    with_name = mongo_url.replace("/?", f"/{db.name}?")
    monkeypatch.setenv("MONGODB_URI", with_name)
    (module,) = (path.stem for path in tmp_path.glob("declared_*.py"))
    assert run(["indexes", "plan", f"{module}:indexes"]) == 0
    assert run(["indexes", "plan", f"{module}:indexes", "--uri", mongo_url]) == 1


def test_the_command_itself_draws_bars_on_a_terminal(
    db: Database[Any], mongo_url: str, tmp_path: Path
) -> None:
    (tmp_path / "app_indexes.py").write_text(textwrap.dedent(MODULE))
    db["orders"].insert_many([{"status": n, "code": n} for n in range(60_000)])
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "symphonia_perf"),
            *("indexes", "apply", "app_indexes:indexes", "--uri", mongo_url, "--database", NAME),
        ],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    )
    out, _ = process.communicate(timeout=60)
    os.close(theirs)
    os.close(ours)
    assert process.returncode == 0
    assert out.splitlines()[-1].startswith("Done: 0 to create")
