"""Renews a lease while it is held, and knows when it is lost."""

import asyncio
import os
from collections.abc import Callable

from symphonia_perf.errors import SymphoniaError
from symphonia_perf.redis._lease_record import Record, chance, local_time
from symphonia_perf.redis._lease_rules import Tenure, retry_pause

__all__ = ["FORGOTTEN", "Keeper"]

FORGOTTEN = "the server gave it to another, or forgot it"
"""Why it is lost where the server does not know its holder."""


class Keeper:
    """One holding, from its grant on.

    One timer waits while nothing happens; a renewal is a task of its own, beside a timer for the
    end, so that no server can delay that.

    Args:
        record: the lease.
        token: the holder's.
        tenure: what was granted.
        on_lost: is called with the reason, at most once, and not after `stop()`.
    """

    def __init__(
        self, record: Record, token: str, tenure: Tenure, *, on_lost: Callable[[Tenure, str], None]
    ) -> None:
        self.token = token
        self.tenure = tenure
        self.pid = os.getpid()
        self.since = tenure.sent
        self._record = record
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._lost = ""
        self._trouble = ""  # what the last renewal met
        self._renewing: asyncio.Task[None] | None = None
        self._arm()

    def lost(self) -> str:
        """Why it is lost, or nothing. Any thread may ask, and the clock alone is enough to know."""
        if not self._lost and not self.tenure.holds(local_time()):
            return self._too_late()
        return self._lost

    def stop(self) -> str:
        """Renew no more; returns why it was lost, or nothing."""
        if reason := self.lost():
            self._lose(reason)
        self._cease()
        return self._lost

    def _cease(self) -> None:
        self._timer.cancel()
        if self._renewing is not None:
            self._renewing.cancel()

    def _arm(self) -> None:
        delay = self.tenure.renewal - local_time()
        self._timer = self._loop.call_later(delay, self._start_renewal)

    def _start_renewal(self) -> None:
        self._renewing = self._loop.create_task(self._renew(), name="renewal of a lease")
        self._watch_end()

    def _watch_end(self) -> None:
        left = self.tenure.until - local_time()
        if left > 0:  # also where the timer comes early
            self._timer = self._loop.call_later(left, self._watch_end)
        else:
            self._lose(self._too_late())

    async def _renew(self) -> None:
        while self.tenure.holds(sent := local_time()):
            patience = self.tenure.patience(sent)
            try:
                kept = await self._record.renew(self.token, deadline=patience)
            except SymphoniaError as error:
                self._trouble = repr(error)
                await asyncio.sleep(retry_pause(self.tenure.length, chance()))
                continue
            if not kept:
                self._lose(FORGOTTEN)
            elif self.tenure.holds(local_time()):
                self._timer.cancel()
                self.tenure, self._trouble = self.tenure.renewed(sent=sent), ""
                self._arm()
            return

    def _lose(self, reason: str) -> None:
        if not self._lost:
            self._lost = reason
            self._cease()
            self._on_lost(self.tenure, reason)

    def _too_late(self) -> str:
        met = f": {self._trouble}" if self._trouble else "; was this process stopped or blocked?"
        return f"no renewal within {self.tenure.until - self.tenure.sent:.3g} s{met}"
