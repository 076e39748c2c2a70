"""One server process: started, waited for, killed, paused, started again."""

import os
import shutil
import signal
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from symphonia_perf._core.durations import seconds
from symphonia_perf.errors import NotOpen, ServerStartError
from symphonia_perf.testing.servers.guardian import Guardian, guardian
from symphonia_perf.testing.servers.ports import HOST, free_port
from symphonia_perf.typing import Seconds

__all__ = ["Server", "serving", "wait_for"]

T = TypeVar("T")

POLL = 0.01  # seconds between two looks at a server that does not answer yet
STOP_PATIENCE = 10.0  # seconds for an orderly stop before SIGKILL

# The shell becomes the server, with the same pid, only once the guardian knows that pid. If we die
# earlier, `read` fails and the shell ends: there is no moment at which a server is unwatched.
GATE = ("/bin/sh", "-c", 'read -r go && exec "$@" </dev/null', "sh")


def wait_for(look: Callable[[], T | None], *, timeout: Seconds, otherwise: Callable[[], str]) -> T:
    """The first true value that `look()` gives.

    Raises:
        ServerStartError: none within `timeout` seconds; says `otherwise()`.
    """
    deadline = time.monotonic() + seconds(timeout, option="timeout")
    while not (found := look()):
        if time.monotonic() > deadline:
            raise ServerStartError(otherwise())
        time.sleep(POLL)
    return found


class Server(ABC):
    """A server on 127.0.0.1 that a test may kill, pause and start again.

    Methods may be called from several threads. A forked child may use the server but not end it.
    """

    host = HOST

    def __init__(self, *, name: str, timeout: Seconds) -> None:
        self.name = name
        self._timeout = seconds(timeout, option="timeout")
        self._port = free_port()
        self._settled = False  # has answered once: from now on the port stays
        self._folder: Path | None = None
        self._guardian: Guardian  # of the process below
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0
        self._lock = threading.RLock()
        self._owner = os.getpid()

    @abstractmethod
    def _command(self) -> Sequence[str]:
        """What to run."""

    @abstractmethod
    def _answers(self, pid: int) -> bool:
        """Whether a server answers on the port and is `pid`, not somebody who was quicker."""

    @property
    def port(self) -> int:
        """Where it listens; the same after `start()`."""
        return self._port

    @property
    def pid(self) -> int:
        """Its process id.

        Raises:
            NotOpen: it does not run.
        """
        return self._running().pid

    @property
    def running(self) -> bool:
        """Whether the process exists, paused or not."""
        with self._lock:
            return self._process is not None and self._exit_code(self._process) is None

    @property
    def folder(self) -> Path:
        """Where its data and its log are.

        Raises:
            NotOpen: its context has not begun, or has ended.
        """
        if self._folder is None:
            raise NotOpen(f"{self.name} has no folder outside its `with` block")
        return self._folder

    @property
    def log(self) -> Path:
        """What it has printed since its first start."""
        return self.folder / "server.log"

    def tail(self, lines: int = 20) -> str:
        """The last lines of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def start(self) -> None:
        """Start it, on the same port and data as before, and return when it answers.

        A server that runs is left alone.

        Raises:
            ServerStartError: it ended, or did not answer in time.
            ServerNotFound: its binary is gone.
        """
        self._check_owner()
        with self._lock:
            if not self.running:
                self.launch()
                self.wait_until_ready()

    def launch(self) -> None:
        """Start the process unless it runs, and return at once: the first half of `start()`."""
        self._check_owner()
        with self._lock:
            if self.running:
                return
            self._guardian = guardian()
            if self._folder is None:
                self._folder = self._guardian.new_folder(self.name)
            command = self._command()
            with self.log.open("ab") as log:
                self._log_start = log.tell()
                self._process = subprocess.Popen(  # noqa: S603 - the binary was looked up by us
                    [*GATE, *command],
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    bufsize=0,
                    cwd=self._folder,
                    env={**os.environ, "LC_ALL": "C"},  # mongod refuses a locale it does not know
                    start_new_session=True,  # Ctrl-C is for the tests; we stop the servers
                )
            assert self._process.stdin is not None  # noqa: S101 - for the type checker
            with self._process.stdin as gate:
                self._guardian.watch(self._process.pid)
                gate.write(b"go\n")

    def wait_until_ready(self) -> None:
        """Return when the launched process answers: the second half of `start()`.

        Raises:
            ServerStartError: it ended, or did not answer in time.
        """
        with self._lock:
            try:
                wait_for(
                    self._is_ready,
                    timeout=self._timeout,
                    otherwise=lambda: self._story(f"did not answer within {self._timeout:g} s"),
                )
            except BaseException:
                self.kill()
                raise
            self._settled = True

    def _is_ready(self) -> bool:
        process = self._running()
        if self._answers(process.pid):
            return True
        code = self._exit_code(process)
        if code is None:
            return False
        if "ddress already in use" not in self._said():
            raise ServerStartError(self._story(f"ended with exit code {code}"))
        if not self._settled:
            self._port = free_port()
        self.launch()
        return False

    def kill(self) -> None:
        """End it with SIGKILL, as a crash would; data and port are kept for `start()`."""
        self._check_owner()
        with self._lock:
            if not self.running:
                return
            process = self._running()
            self._signal(signal.SIGKILL)
            self._forget(process)  # nothing survives SIGKILL, and the pid is ours until reaped
            process.wait()

    def stop(self) -> None:
        """End it in an orderly way (SIGTERM), also from a pause; after 10 s by SIGKILL."""
        self._check_owner()
        with self._lock:
            if not self.running:
                return
            process = self._running()
            self._signal(signal.SIGTERM)
            self._signal(signal.SIGCONT)
            try:
                process.wait(STOP_PATIENCE)
            except subprocess.TimeoutExpired:
                self.kill()
            else:
                self._forget(process)

    def pause(self) -> None:
        """Freeze it (SIGSTOP): connections stay open and nothing answers any more.

        Raises:
            NotOpen: it does not run.
        """
        self._signal(signal.SIGSTOP)
        # The signal is on its way when kill() returns: a thread may still answer one request.
        wait_for(
            lambda: _stopped(self.pid),
            timeout=STOP_PATIENCE,
            otherwise=lambda: f"{self.name} (pid {self.pid}) was told to stop and goes on",
        )

    def resume(self) -> None:
        """Let it go on after `pause()`.

        Raises:
            NotOpen: it does not run.
        """
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """End it and remove its folder; nothing happens in a forked child."""
        if os.getpid() != self._owner:
            return
        with self._lock:
            self.kill()
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)
                self._folder = None

    def _signal(self, number: signal.Signals) -> None:
        with self._lock:  # nobody reaps in between, so the pid is still ours
            os.kill(self._running().pid, number)

    def _running(self) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._process is None or self._process.returncode is not None:
                raise NotOpen(f"{self.name} on port {self._port} does not run; call start()")
            return self._process

    def _exit_code(self, process: subprocess.Popen[bytes]) -> int | None:
        ours = os.getpid() == self._owner  # only a parent can tell, and reap
        if process.returncode is None and ours and process.poll() is not None:
            self._forget(process)
        return process.returncode

    def _forget(self, process: subprocess.Popen[bytes]) -> None:
        self._guardian.forget(process.pid)

    def _check_owner(self) -> None:
        if os.getpid() != self._owner:
            raise NotOpen(f"{self.name} was started by process {self._owner}; only that may end it")

    def _said(self) -> str:
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def _story(self, what: str) -> str:
        return f"{self.name} on {HOST}:{self._port} {what}; its log ends:\n{self.tail()}"


@contextmanager
def serving(*servers: Server) -> Iterator[None]:
    """Start all at once, and end all of them with the block."""
    try:
        for server in servers:
            server.launch()
        for server in servers:
            server.wait_until_ready()
        yield
    finally:
        for server in servers:
            server.close()


def _stopped(pid: int) -> bool:
    """Whether no thread runs; where that cannot be read (not Linux), it is believed."""
    tasks = Path(f"/proc/{pid}/task")
    if not tasks.is_dir():
        return True
    for task in tasks.iterdir():
        # The state follows the name, which is in parentheses and may hold anything.
        with suppress(FileNotFoundError):  # this thread has ended
            if (task / "stat").read_text().rpartition(")")[2].split()[0] not in "TtZX":
                return False
    return True
