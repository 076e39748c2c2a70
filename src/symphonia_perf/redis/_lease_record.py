"""What the server knows of a lease, and the three things that are asked of it."""

import os
import random
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Literal, TypeAlias
from weakref import WeakSet

from symphonia_perf.errors import StoreError
from symphonia_perf.redis._lease_rules import Tenure
from symphonia_perf.redis.commands import Argument, Commands

__all__ = ["AfterRestart", "Record", "Refused", "chance", "local_time"]

AfterRestart: TypeAlias = Literal["wait", "grant"]

LUA = Path(__file__).with_name("lease.lua").read_text(encoding="utf-8")
# Counts while the machine is suspended, where `time.monotonic()` stands still on Linux.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

# Whose server has the script; it may lose it again, which a call by SHA notices.
_loaded: WeakSet[Commands] = WeakSet()


def local_time() -> float:
    """Seconds on a clock that nobody sets and that does not stop; only differences count."""
    return time.clock_gettime(_CLOCK)


def chance() -> float:
    """0 to 1, so that many processes do not do everything at the same moment."""
    return random.random()  # noqa: S311 - nobody gains by guessing it


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Why somebody did not get it."""

    reason: str
    left: float | None = None  # seconds until it is free, unless it is renewed
    error: StoreError | None = None  # the server could not be asked


class Record:
    """One lease at the server."""

    def __init__(
        self, commands: Commands, name: str, *, length: float, after_restart: AfterRestart
    ) -> None:
        self._commands = commands
        self._script = commands.script(LUA)
        self.channel = f"lease:{{{name}}}"  # where a release is told of; also the holder's key
        self._keys = (self.channel, f"{self.channel}:number")
        self._length = length
        self._after_restart = after_restart

    def new_token(self) -> str:
        """What tells this holder from all others; it says who that is to whoever looks.

        It begins with the length, as the script expects.
        """
        who = f"{socket.gethostname()}:{os.getpid()}:{token_hex(8)}"
        return f"{self._milliseconds} {who}"

    async def acquire(self, token: str) -> Tenure | Refused:
        """The tenure, or who has it. Asked again with the same token, it is the same holder.

        Args:
            token: of `new_token()`.

        Raises:
            StoreError: nobody knows whether it was granted.
        """
        arguments = self._arguments("acquire", token)
        sent = local_time()
        if self._knows_script():
            granted, value, *more = await self._script(self._keys, arguments)
        else:
            # The source at once: by its SHA, the first caller would need another round trip.
            run: tuple[Argument, ...] = ("EVAL", LUA, len(self._keys), *self._keys, *arguments)
            granted, value, *more = await self._commands.execute(*run)
            with suppress(TypeError):  # a client that nobody can remember is told the source anew
                _loaded.add(self._commands)
        if granted:
            return Tenure(number=value, length=self._length, sent=sent)
        left = max(value, 0) / 1000
        token_there = more[0].decode(errors="replace")
        holder = token_there.partition(" ")[2]
        reason = f"{holder} holds it, for {left:.1f} s unless it renews"
        if not token_there:
            reason = "the server has just started, and may have forgotten a holder"
        elif not holder:
            reason = f"the key {self.channel!r} has a value of somebody else: {token_there!r:.80}"
        return Refused(reason=reason, left=left)

    async def renew(self, token: str, *, deadline: float) -> bool:
        """Whether it is still this holder's, and lasts one length more.

        Raises:
            StoreError: nobody knows.
        """
        reply = await self._script(self._keys, self._arguments("renew", token), deadline=deadline)
        return bool(reply)

    async def release(self, token: str) -> bool:
        """Whether it was still this holder's; it is nobody's now.

        Raises:
            StoreError: nobody knows.
        """
        return bool(await self._script(self._keys, self._arguments("release", token)))

    def _knows_script(self) -> bool:
        try:
            return self._commands in _loaded
        except TypeError:  # it has no hash
            return False

    @property
    def _milliseconds(self) -> int:
        return round(self._length * 1000)

    def _arguments(self, verb: str, token: str) -> tuple[Argument, ...]:
        return (verb, token, self._milliseconds, self._after_restart)
