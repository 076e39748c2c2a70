"""A Lua script with its SHA; a server that has lost it gets it again within the same call.

Script caches vanish on restart, failover and SCRIPT FLUSH, so NOSCRIPT is an everyday answer.
"""

import hashlib
from collections.abc import Sequence
from time import monotonic

from symphonia_perf._core.durations import seconds
from symphonia_perf.errors import CommandError, ConfigurationError
from symphonia_perf.redis.commands import Argument, Commands, Reply
from symphonia_perf.typing import Seconds

__all__ = ["LuaScript"]


class LuaScript:
    """A callable for one Lua script over any `Commands`; nothing is sent before the first call.

    It runs by SHA, one short round trip. Where the server does not know the script, the same call
    sends the source, which runs it and loads it for the next.

    Args:
        commands: where it runs.
        lua: the source.

    Raises:
        ConfigurationError: the source is not text, or empty.

    ```python
    from fakeredis import FakeAsyncRedis

    from symphonia_perf.redis import wrap

    double = wrap(FakeAsyncRedis()).script("return ARGV[1] * 2")
    assert await double(args=[21]) == 42
    ```
    """

    def __init__(self, commands: Commands, lua: str) -> None:
        if type(lua) is not str or not lua.strip():
            raise ConfigurationError(f"script {lua!r:.100}: expected the source of a Lua script")
        try:
            source = lua.encode()
        except UnicodeEncodeError as error:
            raise ConfigurationError(f"script: not UTF-8: {error}") from error
        self._commands = commands
        self._lua = lua
        # Redis itself names scripts by SHA-1; nothing here depends on its strength.
        self.sha = hashlib.sha1(source, usedforsecurity=False).hexdigest()

    async def __call__(
        self,
        keys: Sequence[str | bytes] = (),
        args: Sequence[Argument] = (),
        *,
        deadline: Seconds | None = None,
    ) -> Reply:
        """Run with `KEYS` and `ARGV`; on a cluster all keys share one slot.

        Raises:
            StoreTimeout: no answer within the deadline, which covers both attempts.
            StoreUnavailable: no connection, or it broke.
            CommandError: the script failed.
            ConfigurationError: `keys` or `args` is a text, or holds what cannot be sent.
        """
        for name, words in (("keys", keys), ("args", args)):
            if isinstance(words, str | bytes):  # it would pass as a sequence of its letters
                raise ConfigurationError(
                    f"{name}={words!r:.100}: expected a list, as in [{words!r:.100}]"
                )
        started = monotonic()
        try:
            return await self._commands.execute(
                "EVALSHA", self.sha, len(keys), *keys, *args, deadline=deadline
            )
        except CommandError as error:
            if error.code != "NOSCRIPT":
                raise
        if deadline is not None:
            # What is left, and never nothing: the server has just answered.
            deadline = max(seconds(deadline, option="deadline") - (monotonic() - started), 0.001)
        return await self._commands.execute(
            "EVAL", self._lua, len(keys), *keys, *args, deadline=deadline
        )
