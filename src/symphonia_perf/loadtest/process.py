"""A run in a process of its own, so that nothing but the service decides how long answers take."""

import asyncio
import contextlib
import json
import sys
from asyncio.subprocess import PIPE, Process

from symphonia_perf.errors import GeneratorFailed
from symphonia_perf.loadtest.plan import Plan
from symphonia_perf.loadtest.result import Result
from symphonia_perf.loadtest.runner import Progress

__all__ = ["run_in_process"]

_TAIL = 20  # lines of the child's stderr that an error repeats


async def run_in_process(plan: Plan, *, progress: Progress | None = None) -> Result:
    """What `plan` measured, sent by a new Python process that ends with the run.

    It also ends when this call is cancelled or this process dies, even by SIGKILL; Ctrl-C reaches
    only this process. Where it is permitted, the generator runs at a higher priority.

    Args:
        plan: what to send, when.
        progress: called some five times a second with requests sent, done and in total.

    Raises:
        GeneratorLagged: the generator was late, so that its latencies would be partly its own.
        GeneratorFailed: it ended without a result; the message ends with its own last lines.
    """
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "symphonia_perf.loadtest._generator",
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        start_new_session=True,  # a terminal's Ctrl-C is for us; the child ends with its stdin
    )
    assert child.stderr is not None  # noqa: S101 - PIPE
    complaint = asyncio.create_task(child.stderr.read())
    try:
        text = await _converse(child, plan, progress)
        code = await child.wait()
        stderr = (await complaint).decode(errors="replace")
    finally:
        complaint.cancel()
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        # Shielded: a second Ctrl-C must not leave the child unreaped.
        await asyncio.shield(child.wait())
    if text is None:
        tail = "\n".join(stderr.splitlines()[-_TAIL:])
        raise GeneratorFailed(f"the load generator ended with exit status {code}:\n{tail}")
    return Result.from_json(text).require_valid()


async def _converse(child: Process, plan: Plan, progress: Progress | None) -> str | None:
    """Hand over the plan; the result's text, or None where the child ended without one."""
    assert child.stdin is not None  # noqa: S101 - PIPE
    assert child.stdout is not None  # noqa: S101 - PIPE
    # A child that died at once is told by its empty stdout below.
    with contextlib.suppress(ConnectionError):
        child.stdin.write(plan.to_json().encode() + b"\n")
        await child.stdin.drain()
    while line := await child.stdout.readline():
        message = json.loads(line)
        if len(message) == 1:
            # readline() gives up at 64 KiB, readexactly() does not.
            with contextlib.suppress(asyncio.IncompleteReadError):
                return (await child.stdout.readexactly(message[0])).decode()
            return None
        if progress is not None:
            progress(*message)
    return None
