"""What every `Broadcast` must do, as tests: one of your own subclasses them.

The tests are coroutines, so they need a pytest plugin that runs these (anyio with
`anyio_mode = "auto"`, or pytest-asyncio).
"""

# ruff: noqa: D102, S101 - these are tests: a name says what each demands, an assert demands it

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from symphonia_perf.errors import ConfigurationError, NotOpen, SlowListener, SymphoniaError
from symphonia_perf.redis import Broadcast, Lost, Message

__all__ = ["BroadcastContract"]

Heard = AsyncIterator[Message | Lost]
_PATIENCE = 30.0  # seconds; a broken broadcast must not hang


def _short(value: object) -> str:
    return f"{value!a:.10}"


async def _next(listener: Heard) -> Message | Lost:
    async with asyncio.timeout(_PATIENCE):
        return await anext(listener)


async def _payloads(listener: Heard, count: int) -> list[bytes]:
    messages = [await _next(listener) for _ in range(count)]
    assert all(isinstance(message, Message) for message in messages), messages
    return [message.payload for message in messages if isinstance(message, Message)]


class BroadcastContract:
    """The conformance suite for `Broadcast`.

    Give a fixture `broadcast` that makes one to which nobody else publishes, ready for use:

    ```python
    import pytest

    from symphonia_perf.redis import MemoryBroadcast
    from symphonia_perf.testing.broadcast import BroadcastContract


    class TestMyBroadcast(BroadcastContract):
        @pytest.fixture
        def broadcast(self) -> MemoryBroadcast:
            return MemoryBroadcast()
    ```
    """

    async def test_everybody_hears_what_is_published(self, broadcast: Broadcast) -> None:
        async with broadcast.subscribe("plans") as one, broadcast.subscribe("plans") as other:
            await broadcast.publish("plans", b"1")
            assert await _next(one) == Message("plans", b"1")
            assert await _next(other) == Message("plans", b"1")

    async def test_messages_keep_their_order(self, broadcast: Broadcast) -> None:
        async with broadcast.subscribe("a", "b") as listener:
            for n in range(200):
                await broadcast.publish("ab"[n % 2], b"%d" % n)
            assert await _payloads(listener, 200) == [b"%d" % n for n in range(200)]

    async def test_others_are_not_heard(self, broadcast: Broadcast) -> None:
        async with broadcast.subscribe("plans") as listener:
            await broadcast.publish("plan", b"no")
            await broadcast.publish("plans:1", b"no")
            await broadcast.publish("plans", b"yes")
            assert await _payloads(listener, 1) == [b"yes"]

    async def test_nothing_is_kept_for_later(self, broadcast: Broadcast) -> None:
        await broadcast.publish("plans", b"early")
        async with broadcast.subscribe("plans") as listener:
            await broadcast.publish("plans", b"now")
            assert await _payloads(listener, 1) == [b"now"]
        await broadcast.publish("plans", b"between")
        async with broadcast.subscribe("plans") as listener:
            await broadcast.publish("plans", b"again")
            assert await _payloads(listener, 1) == [b"again"]

    async def test_who_leaves_does_not_deafen_the_others(self, broadcast: Broadcast) -> None:
        async with broadcast.subscribe("plans", patterns=["p*"]) as stays:
            async with broadcast.subscribe("plans", patterns=["p*"]):
                pass
            await broadcast.publish("plans", b"1")
            assert await _payloads(stays, 2) == [b"1", b"1"]

    async def test_names_come_and_go_quickly(self, broadcast: Broadcast) -> None:
        for n in range(50):
            async with broadcast.subscribe("plans", f"plan:{n % 3}") as listener:
                await broadcast.publish("plans", b"%d" % n)
                assert await _payloads(listener, 1) == [b"%d" % n]

    async def test_patterns_are_redis_globs(self, broadcast: Broadcast) -> None:
        globs = ["orders:*", "plan:?", "c[ab-d]t", "c[^a]r", r"star\*"]
        async with broadcast.subscribe(patterns=globs) as listener:
            for name in ("order", "plan:12", "czt", "car", "starry", "orders:42", "plan:1"):
                await broadcast.publish(name, b"")
            for name in ("cat", "cct", "cor", "star*"):
                await broadcast.publish(name, b"")
            assert [await _next(listener) for _ in range(6)] == [
                Message("orders:42", b"", "orders:*"),
                Message("plan:1", b"", "plan:?"),
                Message("cat", b"", "c[ab-d]t"),
                Message("cct", b"", "c[ab-d]t"),
                Message("cor", b"", "c[^a]r"),
                Message("star*", b"", r"star\*"),
            ]

    async def test_a_channel_and_a_pattern_are_heard_both(self, broadcast: Broadcast) -> None:
        async with broadcast.subscribe("plans", patterns=["plan*", "*"]) as listener:
            await broadcast.publish("plans", b"1")
            heard = [await _next(listener) for _ in range(3)]
            assert {m.pattern for m in heard if isinstance(m, Message)} == {None, "plan*", "*"}

    @pytest.mark.parametrize("payload", [b"", b"\x00\r\n\xff", b"x" * 2**20, "Zoë"], ids=_short)
    async def test_payloads_keep_their_bytes(
        self, broadcast: Broadcast, payload: str | bytes
    ) -> None:
        async with broadcast.subscribe("plans") as listener:
            await broadcast.publish("plans", payload)
            sent = payload.encode() if isinstance(payload, str) else payload
            assert await _payloads(listener, 1) == [sent]

    @pytest.mark.parametrize(
        "name", ["Zoë", "a b\r\n", "{a}", "*", "x" * 1000, "\udcff"], ids=_short
    )
    async def test_any_text_is_a_channel(self, broadcast: Broadcast, name: str) -> None:
        async with broadcast.subscribe(name) as listener:
            await broadcast.publish(name, b"1")
            assert await _next(listener) == Message(name, b"1")

    async def test_a_full_listener_loses_the_oldest_and_is_told(self, broadcast: Broadcast) -> None:
        async with (
            broadcast.subscribe("plans", max_messages=3) as slow,
            broadcast.subscribe("plans") as fast,
        ):
            for n in range(10):
                await broadcast.publish("plans", b"%d" % n)
            assert len(await _payloads(fast, 10)) == 10
            assert await _next(slow) == Lost(dropped=7)
            assert await _payloads(slow, 3) == [b"7", b"8", b"9"]
            await broadcast.publish("plans", b"10")
            assert await _payloads(slow, 1) == [b"10"]

    async def test_a_listener_is_bounded_by_bytes(self, broadcast: Broadcast) -> None:
        async with (
            broadcast.subscribe("plans", max_bytes=100) as slow,
            broadcast.subscribe("plans") as fast,
        ):
            for n in range(5):
                await broadcast.publish("plans", b"%d" % n * 40)
            await _payloads(fast, 5)
            assert await _next(slow) == Lost(dropped=3)
            assert await _payloads(slow, 2) == [b"3" * 40, b"4" * 40]
            await broadcast.publish("plans", b"x" * 1000)
            assert await _payloads(slow, 1) == [b"x" * 1000]

    async def test_a_full_listener_may_be_closed_instead(self, broadcast: Broadcast) -> None:
        async with (
            broadcast.subscribe("plans", max_messages=3, on_full="close") as slow,
            broadcast.subscribe("plans") as fast,
        ):
            for n in range(10):
                await broadcast.publish("plans", b"%d" % n)
            assert len(await _payloads(fast, 10)) == 10
            assert await _payloads(slow, 3) == [b"0", b"1", b"2"]
            with pytest.raises(SlowListener, match="max_messages=3"):
                await _next(slow)

    async def test_a_cancelled_read_loses_nothing(self, broadcast: Broadcast) -> None:
        async with broadcast.subscribe("plans") as listener:
            for n in range(20):
                reading = asyncio.ensure_future(_next(listener))
                await asyncio.sleep(0)
                await broadcast.publish("plans", b"%d" % n)
                reading.cancel()
                heard: Any = None
                with suppress(asyncio.CancelledError):
                    heard = await reading
                if heard is None:
                    heard = await _next(listener)
                assert heard == Message("plans", b"%d" % n)

    async def test_a_cancelled_entry_leaves_nothing(self, broadcast: Broadcast) -> None:
        async def listen() -> None:
            async with broadcast.subscribe("plans", max_messages=1, on_full="close"):
                await asyncio.Event().wait()

        for turns in range(10):
            entering = asyncio.ensure_future(listen())
            for _ in range(turns):
                await asyncio.sleep(0)
            entering.cancel()
            with suppress(asyncio.CancelledError):
                await entering
        async with broadcast.subscribe("plans") as listener:
            await broadcast.publish("plans", b"1")
            assert await _payloads(listener, 1) == [b"1"]

    async def test_the_wait_ends_when_the_listener_leaves(self, broadcast: Broadcast) -> None:
        async with broadcast.subscribe("plans") as listener:
            reading = asyncio.ensure_future(_next(listener))
            await asyncio.sleep(0)
        with pytest.raises(StopAsyncIteration):
            await reading

    async def test_a_listener_is_read_by_one_task(self, broadcast: Broadcast) -> None:
        async with broadcast.subscribe("plans") as listener:
            reading = asyncio.ensure_future(_next(listener))
            await asyncio.sleep(0)
            with pytest.raises(SymphoniaError, match="another task"):
                await _next(listener)
            await broadcast.publish("plans", b"1")
            assert await reading == Message("plans", b"1")

    async def test_a_listener_is_entered_once_and_first(self, broadcast: Broadcast) -> None:
        listener: Any = broadcast.subscribe("plans")
        with pytest.raises(NotOpen):
            await anext(listener)
        async with listener:
            pass
        with pytest.raises(SymphoniaError, match=r"subscribe\(\) again"):
            await listener.__aenter__()

    @pytest.mark.parametrize(
        ("arguments", "options", "named"),
        [
            ((), {}, "a channel or a pattern"),
            ((7,), {}, "channel 7"),
            ((b"plans",), {}, "channel b'plans'"),
            (("\ud800",), {}, "not UTF-8"),
            ((), {"patterns": "plans"}, "patterns='plans'"),
            ((), {"patterns": [None]}, "pattern None"),
            (("plans",), {"patterns": None}, "patterns=None"),
            ((), {"patterns": 7}, "patterns=7"),
            (("plans",), {"max_messages": 0}, "max_messages=0"),
            (("plans",), {"max_messages": True}, "max_messages=True"),
            (("plans",), {"max_bytes": 1.5}, "max_bytes=1.5"),
            (("plans",), {"on_full": "drop"}, "on_full='drop'"),
        ],
    )
    async def test_bad_arguments_are_named(
        self, broadcast: Broadcast, arguments: Any, options: Any, named: str
    ) -> None:
        with pytest.raises(ConfigurationError, match=named):
            broadcast.subscribe(*arguments, **options)

    @pytest.mark.parametrize(
        ("channel", "payload", "named"),
        [
            (b"plans", b"", "channel b'plans'"),
            ("plans", None, "payload of type NoneType"),
            ("plans", {"a": 1}, "payload of type dict"),
            ("plans", bytearray(b"x"), "payload of type bytearray"),
        ],
    )
    async def test_what_cannot_be_published_is_named(
        self, broadcast: Broadcast, channel: Any, payload: Any, named: str
    ) -> None:
        with pytest.raises(ConfigurationError, match=named):
            await broadcast.publish(channel, payload)
