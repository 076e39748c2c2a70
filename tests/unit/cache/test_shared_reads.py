import asyncio
from collections.abc import Awaitable, Callable

from symphonia_perf.cache._shared_reads import SharedReads
from symphonia_perf.errors import StoreTimeout
from tests.unit.cache.far import settle


class Ask:
    def __init__(self) -> None:
        self.count = 0
        self.go = asyncio.Event()

    async def __call__(self) -> int:
        self.count += 1
        number = self.count
        await self.go.wait()
        return number


async def read(reads: SharedReads, what: str, ask: Callable[[], Awaitable[int]]) -> int:
    while (turn := reads.lead(what)) is None:
        if (answer := await reads.follow(what)) is not None:
            return int(answer)
    try:
        answer = await ask()
    except BaseException as error:
        reads.tell(what, turn, error)
        raise
    reads.tell(what, turn, answer)
    return answer


async def test_readers_of_one_turn_share_an_answer() -> None:
    reads, ask = SharedReads(), Ask()
    readers = [asyncio.create_task(read(reads, "k", ask)) for _ in range(100)]
    other = asyncio.create_task(read(reads, "other", ask))
    await settle()
    later = asyncio.create_task(read(reads, "k", ask))
    await settle()
    ask.go.set()
    # The first is alone when it asks, and told of no turn.
    assert await asyncio.gather(*readers) == [1] + [2] * 99
    assert (await other, await later) == (3, 4)
    assert reads.readers == 0


async def test_who_reads_alone_is_told_of_no_turn() -> None:
    reads, ask = SharedReads(), Ask()
    ask.go.set()
    for n in range(3):
        assert await read(reads, "k", ask) == n + 1
        assert reads._turn is None


async def test_when_the_first_is_cancelled_the_others_ask_themselves() -> None:
    reads, ask = SharedReads(), Ask()
    readers = [asyncio.create_task(read(reads, "k", ask)) for _ in range(5)]
    await settle()
    readers[0].cancel()  # nobody follows it
    readers[1].cancel()
    await settle()
    ask.go.set()
    assert await asyncio.gather(*readers[2:]) == [3, 4, 4]  # as at the first time


async def test_a_cancelled_follower_harms_nobody() -> None:
    reads, ask = SharedReads(), Ask()
    readers = [asyncio.create_task(read(reads, "k", ask)) for _ in range(4)]
    await settle()
    readers[2].cancel()
    ask.go.set()
    assert [await readers[n] for n in (0, 1, 3)] == [1, 2, 2]


async def test_an_error_is_everybodys_own() -> None:
    async def fail() -> int:
        await asyncio.sleep(0)
        raise StoreTimeout("late", store="redis", operation="MGET")

    reads = SharedReads()
    readers = [asyncio.create_task(read(reads, "k", fail)) for _ in range(3)]
    errors = await asyncio.gather(*readers, return_exceptions=True)
    assert len({id(error) for error in errors}) == 3
    for error in errors:
        assert isinstance(error, StoreTimeout)
        assert (str(error), error.store, error.operation) == ("late", "redis", "MGET")


def test_another_loop_does_not_wait_for_what_the_last_one_left() -> None:
    reads = SharedReads()

    async def once() -> int:
        ask = Ask()
        ask.go.set()
        return await read(reads, "k", ask)

    assert asyncio.run(once()) == 1
    reads._turn, reads.readers = {"k": []}, 1  # as if it had ended within the turn of its read
    assert asyncio.run(once()) == 1


async def test_who_comes_after_an_answer_of_the_same_turn_asks_again() -> None:
    reads, ask = SharedReads(), Ask()
    ask.go.set()
    assert [await read(reads, "k", ask), await read(reads, "k", ask)] == [1, 2]
