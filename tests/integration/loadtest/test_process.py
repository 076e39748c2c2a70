"""The generator as a process: it measures, complains clearly, and never outlives its parent."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import pytest

from symphonia_perf.errors import GeneratorFailed, GeneratorLagged
from symphonia_perf.loadtest import highest_clean_rate, process, run_in_process
from symphonia_perf.loadtest.result import Result

if TYPE_CHECKING:
    from conftest import Service


def children(pid: int) -> list[int]:
    """Of any process; Linux only, like the servers of this suite."""
    tasks = Path(f"/proc/{pid}/task")
    return [
        int(child) for task in tasks.iterdir() for child in (task / "children").read_text().split()
    ]


async def until(condition: object, *, within: float = 20.0) -> None:
    ends = monotonic() + within
    while not condition():  # type: ignore[operator]
        assert monotonic() < ends, "the condition was never met"
        await asyncio.sleep(0.02)


def generators() -> list[int]:
    return [
        child
        for child in children(os.getpid())
        if b"_generator" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_a_run_comes_back_whole(service: "Service", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Result, "require_valid", lambda self: self)  # a busy machine is no failure
    told: list[tuple[int, int, int]] = []
    plan = service.plan(rate=400, duration=3.5)
    result = await run_in_process(plan, progress=lambda *counts: told.append(counts))
    assert len(result.to_json()) > 2**16  # where a plain readline() would give up
    assert result.statuses == {200: len(result)}
    assert told[-1] == (len(result),) * 3
    assert generators() == []


async def test_a_lagging_generator_is_refused_here_too(service: "Service") -> None:
    sent: list[int] = []
    plan = service.plan(duration=3.0)
    running = asyncio.create_task(
        run_in_process(plan, progress=lambda count, *_: sent.append(count))
    )
    await until(lambda: sent and sent[-1] > 10)
    # Whoever stops the generator makes it late.
    (child,) = generators()
    os.kill(child, signal.SIGSTOP)
    await asyncio.sleep(0.5)
    os.kill(child, signal.SIGCONT)
    with pytest.raises(GeneratorLagged, match="worst"):
        await running


async def test_a_killed_generator_is_an_error(service: "Service") -> None:
    running = asyncio.create_task(run_in_process(service.plan(duration=60)))
    await until(generators)
    os.kill(generators()[0], signal.SIGKILL)
    with pytest.raises(GeneratorFailed, match="exit status -9"):
        await running


async def test_the_last_words_of_a_failed_generator_are_told(
    service: "Service", monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "python"
    broken.write_text('#!/bin/sh\nread plan\necho "it broke" >&2\nexit 3\n')
    broken.chmod(0o755)
    monkeypatch.setattr(process.sys, "executable", str(broken))
    with pytest.raises(GeneratorFailed, match="exit status 3:\nit broke"):
        await run_in_process(service.plan())
    broken.write_text("#!/bin/sh\nread plan\necho '[1000]'\n")
    with pytest.raises(GeneratorFailed, match="exit status 0"):
        await run_in_process(service.plan())


async def test_a_cancelled_run_leaves_no_process(service: "Service") -> None:
    running = asyncio.create_task(run_in_process(service.plan(duration=60)))
    await until(generators)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert generators() == []


PARENT = """
import asyncio, sys
from symphonia_perf.loadtest import Plan, run_in_process

async def main():
    plan = Plan.from_json(sys.argv[1])
    await run_in_process(plan, progress=lambda *counts: print(*counts, flush=True))

asyncio.run(main())
"""


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGINT])
async def test_a_generator_ends_with_its_parent(service: "Service", by: signal.Signals) -> None:
    plan = service.plan(duration=60).to_json()
    with subprocess.Popen(  # noqa: ASYNC220 - it takes no time
        [sys.executable, "-c", PARENT, plan], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        await asyncio.to_thread(parent.stdout.readline)  # it is running
        (child,) = children(parent.pid)
        parent.send_signal(by)
        await asyncio.to_thread(parent.wait, 20)
        await until(lambda: not alive(child))


async def test_the_highest_clean_rate_of_a_real_service(service: "Service") -> None:
    plan = service.plan(rate=50, duration=0.3, timeout=1.0)
    found = await highest_clean_rate(plan, limit=0.5, maximum=100, budget=30)
    assert [trial.rate for trial in found.trials][:2] in ([50, 100], [50, 50])
    assert found.rate in {50, 100} or found.limited_by != "maximum"
    service.process.kill()
    service.process.wait()
    found = await highest_clean_rate(plan, limit=0.1, budget=2.0)
    assert (found.rate, found.limited_by, found.trials) == (0.0, "budget", ())
