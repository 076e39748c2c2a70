"""Our side of the guard: one per process, started with the first server."""

import atexit
import os
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

from symphonia_perf.errors import ServerStartError

__all__ = ["Guardian", "guardian"]

PROGRAM = Path(__file__).with_name("_guard.py")


class Guardian:
    """A child process that kills our servers and removes their folders when we are gone.

    It holds the reading end of a pipe whose only writing end is ours. The kernel closes that end
    when we die, so nothing depends on our running any code.
    """

    def __init__(self) -> None:
        # A session of its own: Ctrl-C in the terminal is for the tests, not for their guard.
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and program
            [sys.executable, "-I", "-S", str(PROGRAM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
            cwd="/",
        )
        assert self._process.stdin is not None  # noqa: S101 - for the type checker
        assert self._process.stdout is not None  # noqa: S101 - for the type checker
        self._pipe = self._process.stdin
        with self._process.stdout as answer:
            self._folder = os.fsdecode(answer.readline().rstrip(b"\n"))
        if not self._folder:
            self.close()
            raise ServerStartError(f"the guard did not start: {sys.executable} -I -S {PROGRAM}")

    @property
    def alive(self) -> bool:
        """Whether it still watches."""
        return self._process.poll() is None

    def new_folder(self, name: str) -> Path:
        """A fresh folder, removed at the latest when this process has ended."""
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self._folder))

    def watch(self, pid: int) -> None:
        """Kill `pid` when this process has ended.

        Raises:
            ServerStartError: somebody has killed the guard.
        """
        try:
            self._say(f"+{pid}\n")
        except BrokenPipeError as error:
            raise ServerStartError("the guard of the test servers was killed") from error

    def forget(self, pid: int) -> None:
        """Never mind `pid` any more: once reaped, it may be somebody else's."""
        # The pipe is closed when the interpreter ends before a server's `with` block does.
        with suppress(BrokenPipeError, ValueError):
            self._say(f"-{pid}\n")

    def _say(self, line: str) -> None:
        os.write(self._pipe.fileno(), line.encode())  # a short write to a pipe is atomic

    def close(self) -> None:
        """Let the guard clean up now, and wait until it has."""
        self._pipe.close()
        self._process.wait()

    def disown(self) -> None:
        """In a forked child: drop the copy of the pipe, which would outlive the parent."""
        self._pipe.close()
        self._process.returncode = 0  # not a child of this process: nothing to wait for


_lock = threading.Lock()
_current: Guardian | None = None


def guardian() -> Guardian:
    """The guardian of this process.

    Raises:
        ServerStartError: it cannot be started.
    """
    global _current  # noqa: PLW0603 - one per process is the point
    with _lock:
        if _current is None or not _current.alive:
            _current = Guardian()
        return _current


def _close() -> None:
    if _current is not None:
        _current.close()


def _forked() -> None:
    global _current, _lock  # noqa: PLW0603 - another thread may have held the lock at the fork
    _lock = threading.Lock()
    if _current is not None:
        _current.disown()
        _current = None


atexit.register(_close)
os.register_at_fork(after_in_child=_forked)
