"""Who may use an object: the process and event loop that opened it."""

import asyncio
import os

from symphonia_perf.errors import NotOpen, SymphoniaError, WrongLoop

__all__ = ["Binding"]


class Binding:
    """Remembers where `name` was opened, and refuses use elsewhere."""

    __slots__ = ("_loop", "_name", "_pid")

    def __init__(self, name: str) -> None:
        self._name = name
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = 0

    def open(self) -> None:
        """Bind to the running loop.

        Raises:
            SymphoniaError: it is open already, on a loop of this process that still lives.
        """
        if self._loop is not None and self._pid == os.getpid() and not self._loop.is_closed():
            raise SymphoniaError(f"{self._name} is open already; share it, do not open it twice")
        self._loop, self._pid = asyncio.get_running_loop(), os.getpid()

    def close(self) -> None:
        """Release it; it may be opened again."""
        self._loop = None

    def check(self) -> None:
        """Return if used where it was opened.

        Raises:
            NotOpen: it is not open, or was opened before this process was forked.
            WrongLoop: it was opened on another event loop.
        """
        try:
            # In a forked child asyncio forgets the parent's running loop, so comparing loops is
            # enough here; asking for the process id costs as much as all the rest of a hit.
            if asyncio.get_running_loop() is self._loop:
                return
        except RuntimeError:  # a thread without a loop
            pass
        if self._loop is None or os.getpid() != self._pid:
            raise NotOpen(f"{self._name} is not open in this process; use it inside `async with`")
        raise WrongLoop(f"{self._name} was opened on another event loop; make one for each loop")
