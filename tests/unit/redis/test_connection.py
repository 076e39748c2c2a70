"""The protocol object alone: bytes in, futures done; the transport is a list."""

import asyncio
from typing import Any

import pytest

from symphonia_perf.errors import StoreTimeout, StoreUnavailable
from symphonia_perf.redis._line import Line
from symphonia_perf.redis._slots import Late
from symphonia_perf.redis.connection import Connection, Many, ServerRefusal, pack_words


class Wire(asyncio.Transport):
    """Remembers what was written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.aborted = False

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True


class Rig:
    """A connection with everything it tells."""

    def __init__(self, **changed: Any) -> None:
        self.lost: list[str] = []
        self.rooms = 0
        self.pushes: list[Any] = []
        self.wire = Wire()
        settings: dict[str, Any] = {
            "deadline": 30.0,
            "max_in_flight": 1000,
            "max_bytes": 2**20,
            "max_reply": 2**20,
            **changed,
        }
        self.connection = Connection(
            asyncio.get_running_loop(),
            on_lost=lambda _, reason: self.lost.append(reason),
            on_room=self.room,
            on_push=self.pushes.append,
            **settings,
        )
        self.connection.connection_made(self.wire)

    def room(self) -> None:
        self.rooms += 1

    def ask(self, *words: str) -> "asyncio.Future[Any]":
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.connection.submit_one(pack_words(words or ("GET", "k")), future)
        return future

    def lose(self) -> None:
        self.connection.connection_lost(None)


async def turn() -> None:
    """Let the loop run what is due now."""
    await asyncio.sleep(0)


async def test_a_lone_command_leaves_at_once_and_a_crowd_together() -> None:
    rig = Rig()
    first = rig.ask("GET", "a")
    assert len(rig.wire.written) == 1
    rig.connection.data_received(b"$1\r\nx\r\n")
    assert await first == b"x"
    crowd = [rig.ask("GET", str(n)) for n in range(10)]
    await turn()
    # The first of a crowd cannot know of the others yet; they leave as one.
    assert len(rig.wire.written) <= 3
    rig.connection.data_received(b"".join(b":%d\r\n" % n for n in range(10)))
    assert await asyncio.gather(*crowd) == list(range(10))
    # Now that a crowd was seen, the next one leaves whole.
    before = len(rig.wire.written)
    crowd = [rig.ask("GET", str(n)) for n in range(10)]
    assert len(rig.wire.written) == before
    await turn()
    assert len(rig.wire.written) == before + 1
    rig.connection.data_received(b":1\r\n" * 10)
    assert await asyncio.gather(*crowd) == [1] * 10


async def test_a_reply_may_be_split_at_every_byte() -> None:
    replies = b"$5\r\nhello\r\n*2\r\n:1\r\n$-1\r\n%1\r\n+a\r\n,1.5\r\n_\r\n#t\r\n-ERR no\r\n:7\r\n"
    for cut in range(1, len(replies)):
        rig = Rig()
        futures = [rig.ask() for _ in range(7)]
        await turn()
        rig.connection.data_received(replies[:cut])
        rig.connection.data_received(replies[cut:])
        found = await asyncio.gather(*futures, return_exceptions=True)
        assert found[:5] == [b"hello", [1, None], {b"a": 1.5}, None, True]
        assert isinstance(found[5], ServerRefusal)
        assert found[6] == 7
        assert rig.connection.in_flight == 0
        assert rig.connection.bytes_in_flight == 0


async def test_false_is_an_answer() -> None:
    rig = Rig()
    future = rig.ask()
    rig.connection.data_received(b"#f\r\n")
    assert await future is False


async def test_a_cancelled_caller_leaves_its_place_and_no_trace() -> None:
    rig = Rig()
    futures = [rig.ask() for _ in range(3)]
    await turn()
    futures[1].cancel()
    rig.connection.data_received(b":0\r\n:1\r\n:2\r\n")
    assert (await futures[0], await futures[2]) == (0, 2)


async def test_many_are_one_result_with_refusals_in_place() -> None:
    rig = Rig()
    future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
    many = Many(future, 3, own_deadline=False)
    rig.connection.submit(pack_words(("PING",)) * 3, many, 3)
    await turn()
    rig.connection.data_received(b":1\r\n-ERR no\r\n")
    assert not future.done()
    rig.connection.data_received(b":3\r\n")
    one, two, three = await future
    assert (one, str(two), three) == (1, "ERR no", 3)


async def test_a_push_is_no_reply() -> None:
    rig = Rig()
    future = rig.ask()
    rig.connection.data_received(b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n:5\r\n")
    assert await future == 5
    assert rig.pushes == [[b"invalidate", [b"k"]]]


@pytest.mark.parametrize(
    "reply",
    [
        b"nonsense\r\n",
        b"%1\r\n*0\r\n:1\r\n",  # a list as a map's key cannot be one
        b"*4294967296000\r\n",
        b"$-7\r\n",
        b"$?\r\n;4\r\n",
    ],
)
async def test_what_cannot_be_understood_ends_the_connection(reply: bytes) -> None:
    rig = Rig()
    future, other = rig.ask(), rig.ask()
    await turn()
    rig.connection.data_received(reply)
    assert rig.wire.aborted
    assert not future.done()
    rig.lose()
    for waiting in (future, other):
        with pytest.raises(StoreUnavailable, match=r"cannot be understood.*may have been executed"):
            await waiting
    assert len(rig.lost) == 1


async def test_a_reply_that_nobody_asked_for_ends_the_connection() -> None:
    rig = Rig()
    rig.connection.data_received(b":1\r\n")
    assert rig.wire.aborted


async def test_a_reply_beyond_the_bound_ends_the_connection_before_it_is_here() -> None:
    rig = Rig(max_reply=1000)
    future = rig.ask()
    rig.connection.data_received(b"$100000\r\n" + b"x" * 5000)
    assert rig.wire.aborted
    rig.lose()
    with pytest.raises(StoreUnavailable, match="max_reply"):
        await future


async def test_the_bound_counts_a_list_whole_though_its_elements_are_small() -> None:
    rig = Rig(max_reply=5000)
    future = rig.ask("LRANGE", "k", "0", "-1")
    rig.connection.data_received(b"*100000\r\n")
    for _ in range(20):
        rig.connection.data_received(b":1\r\n" * 100)
    assert rig.wire.aborted
    rig.lose()
    with pytest.raises(StoreUnavailable, match="max_reply"):
        await future


async def test_many_small_replies_and_pushes_are_no_large_one() -> None:
    rig = Rig(max_reply=2000)
    futures = [rig.ask() for _ in range(200)]
    for _ in futures:
        rig.connection.data_received(b">2\r\n+news\r\n:1\r\n")
        rig.connection.data_received(b"$10\r\n0123456789\r\n")
    for _ in range(100):
        rig.connection.data_received(b">2\r\n+news\r\n:1\r\n")
    assert not rig.wire.aborted
    assert await asyncio.gather(*futures) == [b"0123456789"] * 200


async def test_a_loss_tells_each_whether_it_was_sent() -> None:
    rig = Rig()
    rig.connection._eager = False
    sent = rig.ask()
    await turn()
    unsent = rig.ask()
    rig.lose()
    with pytest.raises(StoreUnavailable, match="may have been executed") as first:
        await sent
    with pytest.raises(StoreUnavailable, match="it was not sent") as second:
        await unsent
    assert first.value is not second.value
    await turn()
    assert len(rig.wire.written) == 1


async def test_a_late_reply_is_given_to_nobody() -> None:
    rig = Rig(deadline=0.02)
    late = await rig.ask()
    assert isinstance(late, Late)
    assert late.reason == "no reply; it may have been executed (deadline 0.02 s)"
    prompt = rig.ask()
    await turn()
    rig.connection.data_received(b":1\r\n:2\r\n")
    assert await prompt == 2
    assert rig.connection.in_flight == 0


async def test_deadlines_of_later_writes_are_kept_too() -> None:
    loop = asyncio.get_running_loop()
    rig = Rig(deadline=0.3)
    rig.connection._eager = False
    started = []
    futures = []
    for _ in range(4):
        futures.append(rig.ask())
        started.append(loop.time())
        await asyncio.sleep(0.01)
    rig.connection.data_received(b":0\r\n")
    assert await futures[0] == 0
    for future, when in zip(futures[1:], started[1:], strict=True):
        assert isinstance(await future, Late)
        assert 0.3 <= loop.time() - when < 1.0


async def test_who_brings_a_deadline_is_not_ended_by_the_connections() -> None:
    rig = Rig(deadline=0.01)
    future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
    rig.connection.submit(pack_words(("PING",)), Many(future, 1, own_deadline=True), 1)
    own: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
    rig.connection.submit(pack_words(("PING",)), Many(own, 1, own_deadline=False), 1)
    with pytest.raises(StoreTimeout, match="no reply"):
        await own
    assert isinstance(await rig.ask(), Late)
    assert not future.done()
    rig.connection.data_received(b"+PONG\r\n:1\r\n:2\r\n")
    assert await future == [b"PONG"]


async def test_what_was_answered_leaves_nothing_behind() -> None:
    # A blocking connection has a deadline of a year: nothing may wait for it.
    rig = Rig(deadline=1e7)
    for _ in range(100):
        future = rig.ask()
        await turn()
        rig.connection.data_received(b":1\r\n")
        assert await future == 1
    assert not rig.connection._marks
    rig.lose()


async def test_room_is_counted_in_commands_and_bytes() -> None:
    rig = Rig(max_in_flight=3)
    for _ in range(3):
        assert rig.connection.roomy
        rig.ask()
    assert not rig.connection.roomy
    await turn()
    rig.connection.data_received(b":1\r\n")
    assert rig.rooms == 1
    assert rig.connection.has_room()
    small = Rig(max_bytes=100)
    small.ask("SET", "k", "x" * 200)
    assert not small.connection.roomy
    small.connection.data_received(b"+OK\r\n")
    assert small.connection.has_room()
    assert small.connection.bytes_in_flight == 0


async def test_a_large_write_goes_by_the_piece_and_what_is_behind_it_waits() -> None:
    rig = Rig()
    large, small = "x" * 3_000_000, pack_words(("GET", "k"))
    rig.connection.pause_writing()
    first = rig.ask("SET", "k", large)
    await turn()
    second = rig.ask("GET", "k")
    await turn()
    assert rig.wire.written == []  # not even the small one: it is behind the large one
    rig.connection.resume_writing()
    await turn()
    assert max(map(len, rig.wire.written)) <= 256 * 1024
    assert b"".join(rig.wire.written) == pack_words(("SET", "k", large)) + small
    rig.connection.data_received(b"+OK\r\n$1\r\nx\r\n")
    assert (await first, await second) == (b"OK", b"x")
    third = rig.ask("GET", "k")
    await turn()
    assert rig.wire.written[-1] == small  # at once again
    rig.connection.data_received(b":3\r\n")
    assert await third == 3
    rig.connection.pause_writing()
    lost = rig.ask("SET", "k", large)
    await turn()
    rig.lose()
    rig.connection.resume_writing()
    await turn()
    with pytest.raises(StoreUnavailable, match="may have been executed"):
        await lost
    assert rig.wire.written[-1] == small


async def test_what_is_submitted_to_a_connection_that_ends_is_not_sent() -> None:
    rig = Rig()
    rig.connection._eager = False
    future = rig.ask()
    rig.connection.abort("as a test")
    await turn()
    rig.lose()
    with pytest.raises(StoreUnavailable, match="as a test; it was not sent"):
        await future
    assert rig.wire.written == []


async def test_whoever_leaves_the_line_too_late_is_not_sent() -> None:
    rig = Rig()
    line = Line(asyncio.get_running_loop(), deadline=1e-9)
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    line.join(pack_words(("INCR", "n")), future, 1)
    line.let_in(rig.connection)
    late = await future
    assert isinstance(late, Late)
    assert late.reason == "it was not sent (deadline 1e-09 s)"
    await turn()
    assert rig.wire.written == []
    assert (len(line), line.size) == (0, 0)
    line.close()


def in_line(line: Line, count: int) -> list[asyncio.Future[Any]]:
    futures = []
    for _ in range(count):
        futures.append(asyncio.get_running_loop().create_future())
        line.join(pack_words(("GET", "k")), futures[-1], 1)
    return futures


async def test_after_a_standstill_a_long_line_is_let_in_a_part_in_each_turn() -> None:
    rig = Rig()
    line = Line(asyncio.get_running_loop(), deadline=30.0)
    futures = in_line(line, 300)
    futures.pop(7).cancel()
    line._moved -= 1.0
    assert line.let_in(rig.connection)
    assert 0 < rig.connection.in_flight < 200
    assert rig.connection.in_flight + 1 + len(line) == 300
    while line.let_in(rig.connection):
        pass
    assert rig.connection.in_flight == 299
    await turn()
    rig.connection.data_received(b"".join(b":%d\r\n" % number for number in range(299)))
    assert [await future for future in futures] == list(range(299))
    line.close()


async def test_a_line_that_moves_is_let_in_at_once_so_that_it_ends() -> None:
    rig = Rig()
    line = Line(asyncio.get_running_loop(), deadline=30.0)
    in_line(line, 300)
    assert not line.let_in(rig.connection)
    assert rig.connection.in_flight == 300
    in_line(line, 300)
    line._moved -= 1.0
    assert line.let_in(rig.connection)
    line._begun -= 1.0  # the beginning is over, though others come behind as fast as these go
    assert not line.let_in(rig.connection)
    assert rig.connection.in_flight == 600
    line.close()


ATTRIBUTE = b"|1\r\n+ttl\r\n:90\r\n"


async def test_a_status_that_begins_with_a_bar_is_none() -> None:
    rig = Rig()
    first, second = rig.ask("GET", "a"), rig.ask("GET", "b")
    await turn()
    rig.connection.data_received(b"+")
    rig.connection.data_received(b"|x\r\n:2\r\n")
    assert (await first, await second) == (b"|x", 2)


@pytest.mark.parametrize("cut", range(1, len(b"+1\r\n" + ATTRIBUTE + b"+2\r\n")))
async def test_an_attribute_ends_the_connection_before_it_shifts_a_reply(cut: int) -> None:
    rig = Rig()
    first, second, third = rig.ask("GET", "a"), rig.ask("GET", "b"), rig.ask("GET", "c")
    await turn()
    data = b"+1\r\n" + ATTRIBUTE + b"+2\r\n"
    rig.connection.data_received(data[:cut])
    if not rig.wire.aborted:
        rig.connection.data_received(data[cut:])
    assert rig.wire.aborted
    rig.lose()
    assert first.result() == b"1"
    for unanswered in (second, third):
        with pytest.raises(StoreUnavailable, match="attribute"):
            unanswered.result()


async def test_an_attribute_inside_a_list_ends_the_connection_too() -> None:
    rig = Rig()
    future = rig.ask("GET", "a")
    await turn()
    rig.connection.data_received(b"*2\r\n+1\r\n" + ATTRIBUTE + b"+2\r\n")
    assert rig.wire.aborted
    rig.lose()
    with pytest.raises(StoreUnavailable, match="attribute"):
        future.result()


@pytest.mark.parametrize("text", [b"|", b"a|b", b"\n|1\r\n", b"\r\n|\r\n|1\r\n+x\r\n:1\r\n"])
async def test_a_text_with_bars_is_a_text(text: bytes) -> None:
    data = b"$%d\r\n%b\r\n" % (len(text), text)
    for cut in range(1, len(data) * 2):
        rig = Rig()
        one, two = rig.ask("GET", "a"), rig.ask("GET", "b")
        await turn()
        both = data * 2
        rig.connection.data_received(both[:cut])
        rig.connection.data_received(both[cut:])
        assert (await one, await two) == (text, text)
        rig.lose()


async def test_a_connection_that_retires_answers_first() -> None:
    rig = Rig()
    future = rig.ask("GET", "a")
    await turn()
    rig.connection.retire("go elsewhere")
    assert not rig.connection.has_room()
    assert not rig.connection.roomy
    assert not rig.wire.aborted
    rig.connection.data_received(b"+1\r\n")
    assert future.result() == b"1"
    assert rig.wire.aborted
    assert rig.rooms == 0  # nobody is let in any more
    idle = Rig()
    idle.connection.retire("go elsewhere")
    assert idle.wire.aborted
