"""The buffer alone: what is kept, what is dropped, and what is said of it."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from symphonia_perf._core.listener import Listener, Lost, Message, decoded, encoded
from symphonia_perf.errors import SlowListener, WrongLoop


async def enter(_: Listener) -> None:
    """Nothing to wait for."""


def listener(**changed: Any) -> Listener:
    settings: dict[str, Any] = {
        "patterns": (),
        "max_messages": 3,
        "max_bytes": 100,
        "on_full": "drop_oldest",
        "enter": enter,
        "leave": lambda _: None,
        **changed,
    }
    return Listener(["plans"], **settings)


async def rest(one: Listener) -> list[Any]:
    """What it still has to say; it is closed by then."""
    return [item async for item in one]


@given(st.binary(max_size=20))
def test_a_name_survives_as_text(name: bytes) -> None:
    assert encoded(decoded(name)) == name


@given(
    st.lists(st.one_of(st.integers(0, 60), st.none()), max_size=30),
    st.integers(1, 5),
)
def test_what_is_heard_and_what_is_lost_adds_up(sizes: list[int | None], most: int) -> None:
    """A number is a message of that size, None a loss of the connection."""

    async def run() -> None:
        async with listener(max_messages=most) as one:
            for n, size in enumerate(sizes):
                if size is None:
                    one.lose()
                else:
                    one.put(Message(str(n), b"x" * size))
            one.close()
            items = await rest(one)
        messages = [item for item in items if isinstance(item, Message)]
        gaps = [item for item in items if isinstance(item, Lost)]
        sent = sum(size is not None for size in sizes)
        assert len(messages) + sum(gap.dropped for gap in gaps) == sent
        numbers = [int(message.channel) for message in messages]
        assert numbers == sorted(numbers)
        # The newest are kept, within the bounds, and dropped ones are told of at the front.
        assert len(items) <= most + 1
        assert not any(gap.dropped for gap in gaps[1:])
        if len(messages) > 1:
            assert sum(len(message.payload) for message in messages) <= 100
        assert any(gap.disconnected for gap in gaps) == (None in sizes)

    asyncio.run(run())


async def test_losses_in_a_row_are_one() -> None:
    async with listener() as one:
        one.put(Message("plans", b"1"))
        one.lose()
        one.lose()
        one.put(Message("plans", b"2"))
        one.close()
        gap = Lost(disconnected=True)
        assert await rest(one) == [Message("plans", b"1"), gap, Message("plans", b"2")]


async def test_a_full_one_that_closes_leaves_once_and_hears_no_more() -> None:
    left: list[Listener] = []
    async with listener(on_full="close", leave=left.append, max_messages=1) as one:
        for n in range(3):
            one.put(Message("plans", b"%d" % n))
        one.lose()
        one.close()
        assert left == [one]
        assert await anext(one) == Message("plans", b"0")
        for _ in range(2):
            with pytest.raises(SlowListener, match="1 messages waited"):
                await anext(one)
    assert left == [one]


async def test_the_end_wakes_who_waits_with_its_reason() -> None:
    async with listener() as one:
        reading = asyncio.create_task(rest(one))
        await asyncio.sleep(0)
        one.close(ValueError("why"))
        with pytest.raises(ValueError, match="why"):
            await reading


async def test_what_was_entered_in_vain_is_closed() -> None:
    async def refuse(_: Listener) -> None:
        raise LookupError

    left: list[Listener] = []
    one = listener(enter=refuse, leave=left.append)
    with pytest.raises(LookupError):
        await one.__aenter__()
    one.put(Message("plans", b"1"))
    assert left == []
    assert not one._buffer


def test_it_belongs_to_its_loop() -> None:
    one = listener()
    with asyncio.Runner() as runner:
        runner.run(one.__aenter__())
        with pytest.raises(WrongLoop):
            asyncio.run(rest(one))
        runner.run(one.__aexit__(None, None, None))
