"""What a server has under keys: bytes, the time they have left, and the numbers of tags."""

from collections.abc import Sequence
from typing import NamedTuple

from symphonia_perf.cache._shared_reads import SharedReads
from symphonia_perf.errors import CommandError
from symphonia_perf.redis.commands import Commands, Reply

__all__ = ["Read", "Reading"]


class Read(NamedTuple):
    """The server's answers, each in the order in which it was asked."""

    data: Sequence[Reply]  # of each key; None where there is nothing, or no bytes
    left: Sequence[Reply]  # milliseconds, where ages were asked for
    numbers: Sequence[Reply]  # of each tag


class Reading:
    """Reads in one round trip each; tasks that read the same in one turn of the loop share it.

    Args:
        commands: what executes commands.
        shared: who shares.
    """

    def __init__(self, commands: Commands, shared: SharedReads) -> None:
        self._commands = commands
        self._shared = shared
        # Whether one command may name keys of any slot. A cluster says no once, and is believed:
        # nothing else tells a cluster from a server, and a proxy may stand before one.
        self._together = True

    async def ask(
        self,
        keys: Sequence[str],
        tags: Sequence[str] = (),
        *,
        ages: bool = False,
        alone: bool = False,
    ) -> Read:
        """What is under keys and tags, and with `ages` the time that the keys have left.

        With `alone` it is asked for now, whoever asks for the same: a near tier may have heard of a
        change in this turn of the loop, after another's question and before its answer.
        """
        if alone or len(keys) != 1:
            return await self._ask(keys, tags, ages=ages)
        shared, what = self._shared, (*keys, *tags, ages)
        while (turn := shared.lead(what)) is None:
            found: Read | None = await shared.follow(what)
            if found is not None:
                return found
        try:
            found = await self._ask(keys, tags, ages=ages)
        except BaseException as error:
            shared.tell(what, turn, error)
            raise
        shared.tell(what, turn, found)
        return found

    async def _ask(self, keys: Sequence[str], tags: Sequence[str], *, ages: bool) -> Read:
        # MGET answers nil for what is of another type.
        names, upto = (*keys, *tags), len(keys)
        if names and (self._together or len(names) == 1):
            try:
                if not ages:
                    # One command takes half of what two do.
                    values: Sequence[Reply] = await self._commands.execute("MGET", *names)
                    return Read(values[:upto], (), values[upto:])
                values, *left = await self._commands.execute_many(
                    [("MGET", *names), *(("PTTL", key) for key in keys)]
                )
            except CommandError as error:
                if error.code != "CROSSSLOT":
                    raise
                self._together = False
            else:
                return Read(values[:upto], left, values[upto:])
        commands = [("MGET", name) for name in names]
        if ages:
            commands += [("PTTL", key) for key in keys]
        replies = await self._commands.execute_many(commands)
        values = [value for (value,) in replies[: len(names)]]
        return Read(values[:upto], replies[len(names) :], values[upto:])
