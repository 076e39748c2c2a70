"""The role every Redis-backed store takes: something that executes commands.

A store never asks which client stands behind it. `wrap()` gives this role over a client the
service has already.
"""

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

from symphonia_perf.typing import Seconds

__all__ = ["Argument", "Commands", "Reply", "Script"]

Argument: TypeAlias = str | bytes | int | float
"""What a command is made of. Text is sent as UTF-8, a float by `repr`."""

Reply: TypeAlias = Any
"""What a command returns: bytes, int, float, bool, None, a list (of a set, too) or a dict of these.

The reply is the server's, untouched by the command's name: `SET` answers `b"OK"`, not True.
"""


class Script(Protocol):
    """A Lua script that runs on the server, loaded there when it is not."""

    async def __call__(
        self,
        keys: Sequence[str | bytes] = (),
        args: Sequence[Argument] = (),
        *,
        deadline: Seconds | None = None,
    ) -> Reply:
        """Run with `KEYS` and `ARGV`; on a cluster all keys share one slot."""
        ...


class Commands(Protocol):
    """Executes commands; each has a deadline, and each error is one of ours.

    Raises (all methods):
        StoreTimeout: no answer within the deadline; the command may have been executed.
        StoreUnavailable: no connection, or it broke.
        CommandError: the server refused; `.code` is the first word of its answer.
    """

    async def execute(self, *args: Argument, deadline: Seconds | None = None) -> Reply:
        """The reply to one command, as in `await redis.execute("GET", "key")`."""
        ...

    async def execute_many(
        self,
        commands: Sequence[Sequence[Argument]],
        *,
        return_errors: bool = False,
        deadline: Seconds | None = None,
    ) -> list[Reply]:
        """The replies to many commands, in order and in one round trip.

        All replies are awaited before the first error is raised; with `return_errors` an error
        stands in its command's place instead.
        """
        ...

    def script(self, lua: str) -> Script:
        """A callable for a Lua script; nothing is sent yet."""
        ...
