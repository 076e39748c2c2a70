"""The guard: a program that outlives the test process for as long as it takes to clean up.

It makes the folder in which all servers live, prints its name, and reads lines from a pipe: `+PID`
to watch a process, `-PID` to forget it. The pipe ends when the test process does, however that
happened; then the guard kills what it watches and removes the folder. It runs with `-I -S`, so it
imports the standard library only.
"""

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

__all__ = ["clean_up", "watched"]


def watched(lines: Iterable[str]) -> set[int]:
    """The process ids that are still to be watched when `lines` end."""
    pids: set[int] = set()
    for line in lines:
        pid = int(line[1:])
        if line.startswith("+"):
            pids.add(pid)
        else:
            pids.discard(pid)
    return pids


def clean_up(pids: Iterable[int], folder: Path, *, patience: float = 10.0) -> None:
    """Kill the processes and remove the folder, for at most `patience` seconds.

    A process may still write while it dies, so that the folder is not empty at the first attempt.
    """
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)  # ends stopped processes too
    deadline = time.monotonic() + patience
    while folder.exists() and time.monotonic() < deadline:
        shutil.rmtree(folder, ignore_errors=True)
        if folder.exists():
            time.sleep(0.02)


def main() -> None:
    """Watch until standard input ends."""
    # Only the end of the test process ends the guard: a supervisor often signals all at once.
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    folder = Path(tempfile.mkdtemp(prefix="symphonia-perf-"))
    with suppress(BrokenPipeError):
        print(folder, flush=True)  # noqa: T201 - how the other side learns of it
    clean_up(watched(sys.stdin), folder)


if __name__ == "__main__":
    main()
