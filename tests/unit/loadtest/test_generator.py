import asyncio
import selectors
from time import monotonic

import pytest

from symphonia_perf.loadtest._generator import event_loop


@pytest.mark.skipif(not hasattr(selectors, "EpollSelector"), reason="epoll is Linux's")
def test_timers_are_finer_than_epolls_millisecond() -> None:
    async def lateness() -> float:
        late = []
        for _ in range(60):
            due = monotonic() + 0.0021
            await asyncio.sleep(due - monotonic())
            late.append(monotonic() - due)
        return min(late)

    # epoll waits whole milliseconds, rounded up: 3 for 2.1.
    with asyncio.Runner(loop_factory=event_loop) as runner:
        assert 0 <= runner.run(lateness()) < 0.0008


def test_sockets_still_wake_the_loop() -> None:
    async def echo() -> bytes:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.readline())
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"hello\n")
            async with asyncio.timeout(5):
                words = await reader.read()
            writer.close()
            await writer.wait_closed()
        return words

    with asyncio.Runner(loop_factory=event_loop) as runner:
        assert runner.run(echo()) == b"hello\n"


def test_without_epoll_there_is_the_usual_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = asyncio.new_event_loop
    monkeypatch.delattr(selectors, "EpollSelector", raising=False)
    asked = []

    def new_event_loop() -> asyncio.AbstractEventLoop:
        asked.append(True)
        return usual()

    monkeypatch.setattr(asyncio, "new_event_loop", new_event_loop)
    event_loop().close()
    assert asked == [True]
