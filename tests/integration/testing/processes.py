"""Processes of a test: how they are run, and whether they have ended."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def eventually(condition: Callable[[], Any], *, within: float = 10.0) -> None:
    """Return when the condition holds; fail when it has not for `within` seconds."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"not within {within} s"
        time.sleep(0.01)


def gone(pid: int) -> bool:
    """Whether the process has ended; its parent may not have noticed yet."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, check=False)
    return state.stdout.strip()[:1] in {b"", b"Z"}


class Script:
    """A Python program in a process of its own, which says what it has to say line by line."""

    def __init__(self, file: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(file)], stdout=subprocess.PIPE, text=True, env=dict(os.environ)
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        return self.process.wait(30)
