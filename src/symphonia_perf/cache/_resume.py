"""Where a change stream goes on, kept in Redis for whoever watches next."""

import re

from symphonia_perf._core.codecs import MsgpackCodec
from symphonia_perf.errors import CommandError, CorruptEntry
from symphonia_perf.redis.commands import Commands
from symphonia_perf.typing import Document

__all__ = ["ResumeToken"]

# Milliseconds. An oplog seldom reaches back further, and a token that is gone costs what one costs
# that leads nowhere.
_LASTS = 7 * 86_400_000
# What a server's token holds. Its length is that of the changed document's key, which is seldom
# above a kilobyte. Without `_data` a server would begin now, and nobody would know of the gap.
_DATA = re.compile(r"[0-9A-Fa-f]{1,65536}")


class ResumeToken:
    """The token of one stream.

    Args:
        commands: where it is kept.
        key: under which key.
    """

    def __init__(self, commands: Commands, key: str) -> None:
        self._commands = commands
        self._key = key
        self._codec = MsgpackCodec()

    async def load(self) -> Document | None:
        """The token; None where there is none that a server can have given.

        Raises:
            StoreError: nobody knows.
        """
        try:
            data = await self._commands.execute("GET", self._key)
        except CommandError as error:
            if error.code != "WRONGTYPE":
                raise
            return None  # somebody else's; saving replaces it
        if data is None:
            return None
        try:
            token: object = self._codec.decode(data)
        except CorruptEntry:
            return None
        if not isinstance(token, dict):
            return None
        data = token.get("_data")
        return token if isinstance(data, str) and _DATA.fullmatch(data) else None

    async def save(self, token: Document) -> None:
        """Keep it in place of the one before.

        Raises:
            StoreError: it may not have been kept.
        """
        # Servers before MongoDB 4.2 put binary type bits beside the text.
        plain = {k: bytes(v) if isinstance(v, bytes) else v for k, v in token.items()}
        await self._commands.execute("SET", self._key, self._codec.encode(plain), "PX", _LASTS)
