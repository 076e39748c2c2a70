"""A cable between a client and a server that a test may cut, or let fall silent."""

import asyncio
from types import TracebackType
from typing import Self

__all__ = ["Cable"]


class Cable:
    """Passes bytes on, until it is told not to.

    Attributes:
        plugged: new connections are taken; else they are closed at once.
        flows: what the server says comes through; else it waits here, as on a half-open line.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._pairs: dict[asyncio.StreamWriter, asyncio.StreamWriter] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.plugged = True
        self.flows = asyncio.Event()
        self.flows.set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.close()
        self.flows.set()
        self.cut()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"redis://127.0.0.1:{self.port}/0"

    def cut(self) -> None:
        """End all connections, without a word."""
        for near, far in self._pairs.items():
            near.transport.abort()
            far.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.plugged:
            writer.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            there, onwards = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        self._pairs[writer] = onwards
        try:
            await asyncio.gather(
                self._pass(reader, onwards, held=False), self._pass(there, writer, held=True)
            )
        finally:
            del self._pairs[writer]
            writer.transport.abort()
            onwards.transport.abort()

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, held: bool
    ) -> None:
        try:
            while data := await reader.read(2**16):
                if held:
                    await self.flows.wait()
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()
