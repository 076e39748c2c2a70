"""Who hears what, against a server that only remembers what it was asked."""

import asyncio
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from symphonia_perf._core.listener import Listener, Lost, Message, Word
from symphonia_perf.errors import CommandError, NotOpen
from symphonia_perf.redis._subscriptions import Subscriptions

GAP = Lost(disconnected=True)


class Rig:
    """Subscriptions, what they asked for, and listeners with what they were told."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, bool]] = []
        self.subscriptions = Subscriptions(self.ask)

    def ask(self, word: Word, hear: bool) -> None:  # noqa: FBT001 - the callback's form
        self.asked.append((word.name.decode(), hear))

    def listener(self, *channels: str, patterns: tuple[str, ...] = ()) -> "Ear":
        return Ear(self.subscriptions, channels, patterns)

    def answer(self) -> None:
        """The server does the first thing that it was asked."""
        name, hear = self.asked.pop(0)
        self.subscriptions.answered(Word(name.encode(), "*" in name), hears=hear)

    def hear(self, channel: str, payload: bytes) -> bool:
        return self.subscriptions.heard([b"message", channel.encode(), payload])


class Ear:
    """A listener outside of `async with`: what it was told lies in its buffer."""

    def __init__(
        self, subscriptions: Subscriptions, channels: tuple[str, ...], patterns: tuple[str, ...]
    ) -> None:
        async def enter(_: Listener) -> None:
            """Entered by the test."""

        self.subscriptions = subscriptions
        self.listener = Listener(
            channels,
            patterns=patterns,
            max_messages=1_000,
            max_bytes=10_000,
            on_full="drop_oldest",
            enter=enter,
            leave=subscriptions.remove,
        )
        self.ready: asyncio.Future[Any] = asyncio.get_event_loop().create_future()
        subscriptions.add(self.listener, self.ready)

    @property
    def told(self) -> list[Any]:
        return [item.payload if type(item) is Message else item for item in self.listener._buffer]

    def leave(self) -> None:
        self.subscriptions.remove(self.listener)


@pytest.fixture
async def rig() -> Rig:
    made = Rig()
    made.subscriptions.connected()
    return made


async def test_a_name_is_asked_for_once(rig: Rig) -> None:
    one, other = rig.listener("a"), rig.listener("a", "b")
    rig.asked.sort()
    assert rig.asked == [("a", True), ("b", True)]
    rig.answer()
    assert (one.ready.done(), other.ready.done()) == (True, False)
    rig.answer()
    assert other.ready.done()
    third = rig.listener("a", "b")
    assert third.ready.done()
    assert rig.asked == []
    assert (len(rig.subscriptions), rig.subscriptions.names) == (3, 2)


async def test_the_last_to_leave_asks_for_silence(rig: Rig) -> None:
    one, other = rig.listener("a"), rig.listener("a")
    rig.answer()
    one.leave()
    assert rig.asked == []
    other.leave()
    assert rig.asked == [("a", False)]
    rig.answer()
    assert (rig.asked, rig.subscriptions.names) == ([], 0)


async def test_one_step_at_a_time(rig: Rig) -> None:
    rig.listener("a").leave()
    again = rig.listener("a")
    assert rig.asked == [("a", True)]  # the first answer serves, too
    rig.answer()
    assert again.ready.done()
    again.leave()
    back = rig.listener("a")
    assert rig.asked == [("a", False)]
    rig.answer()
    assert not back.ready.done()
    assert rig.asked == [("a", True)]
    rig.answer()
    assert back.ready.done()
    assert back.told == []


async def test_an_answer_to_nothing_is_nothing(rig: Rig) -> None:
    rig.subscriptions.answered(Word(b"a", is_pattern=False), hears=True)
    ear = rig.listener("a")
    rig.subscriptions.answered(Word(b"a", is_pattern=False), hears=False)
    assert not ear.ready.done()
    rig.subscriptions.refused(Word(b"b", is_pattern=False), CommandError("no"))
    assert rig.asked == [("a", True)]


async def test_a_gap_is_told_when_everything_is_heard_again(rig: Rig) -> None:
    ear = rig.listener("a", patterns=("b*",))
    rig.answer()
    rig.answer()
    rig.hear("a", b"1")
    rig.subscriptions.lost()
    rig.subscriptions.lost()
    rig.subscriptions.unreachable()
    rig.subscriptions.connected()
    rig.asked.sort()
    assert rig.hear("a", b"2")  # on its way with the answer, and before that
    rig.answer()
    rig.hear("a", b"3")
    assert ear.told == [b"1"]  # a message before the gap would look as if nothing were missing
    rig.answer()
    assert rig.subscriptions.heard([b"pmessage", b"b*", b"bc", b"4"])
    assert ear.told == [b"1", GAP, b"4"]


async def test_who_waits_is_not_told_of_a_gap(rig: Rig) -> None:
    waits = rig.listener("a")
    rig.subscriptions.lost()
    assert not waits.ready.done()
    rig.asked.clear()
    rig.subscriptions.connected()
    rig.answer()
    assert waits.ready.result() is None
    assert waits.told == []


async def test_who_was_let_in_early_is_told_of_a_gap(rig: Rig) -> None:
    ear, other = rig.listener("a"), rig.listener("b")
    rig.subscriptions.no_longer_waits(ear.listener)
    assert ear.ready.done()
    rig.answer()
    rig.answer()
    assert (ear.told, other.told) == ([GAP], [])
    rig.subscriptions.no_longer_waits(other.listener)  # it hears already
    assert other.told == []


async def test_nobody_waits_for_a_server_that_is_away() -> None:
    rig = Rig()
    early = rig.listener("a")
    assert not early.ready.done()
    rig.subscriptions.unreachable()
    late = rig.listener("a")
    assert early.ready.result() is late.ready.result() is None
    left = rig.listener("b")
    left.leave()
    assert rig.asked == []
    rig.subscriptions.connected()
    assert rig.asked == [("a", True)]
    rig.answer()
    assert early.told == late.told == [GAP]


async def test_a_refusal_ends_those_who_listen_to_that_name(rig: Rig) -> None:
    entering, inside, other = rig.listener("a", "b"), rig.listener("a"), rig.listener("b")
    rig.subscriptions.no_longer_waits(inside.listener)
    reason = CommandError("no", code="NOPERM", operation="SUBSCRIBE")
    reason.__cause__ = ValueError("said")
    rig.subscriptions.refused(Word(b"a", is_pattern=False), reason)
    raised = entering.ready.result()
    assert (type(raised), raised.code, str(raised)) == (CommandError, "NOPERM", "no")
    assert raised is not reason
    assert raised.__cause__ is reason.__cause__
    assert not other.ready.done()
    assert len(rig.subscriptions) == 1
    with pytest.raises(CommandError):
        async with inside.listener as listener:
            await anext(listener)


async def test_the_end_is_told_and_asks_for_nothing(rig: Rig) -> None:
    heard, waits = rig.listener("a"), rig.listener("b")
    rig.answer()
    rig.asked.clear()
    rig.subscriptions.close()
    assert heard.ready.result() is None
    assert isinstance(waits.ready.result(), NotOpen)
    assert (rig.asked, len(rig.subscriptions), rig.subscriptions.names) == ([], 0, 0)


async def test_what_is_no_message_is_left_to_others(rig: Rig) -> None:
    assert not rig.subscriptions.heard([b"subscribe", b"a", 1])
    assert rig.hear("nobody", b"1")
    assert rig.subscriptions.heard([b"pmessage", b"n*", b"nobody", b"1"])
    with pytest.raises(ValueError, match="unpack"):
        rig.subscriptions.heard([b"message", b"a"])


class Server(RuleBasedStateMachine):
    """Listeners come and go, connections too; who is told nothing of a gap has heard all."""

    names = st.sampled_from(["a", "b", "c"])

    @initialize()
    def begin(self) -> None:
        self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)
        self.rig = Rig()
        self.up = False
        self.subscribed: set[str] = set()
        self.answers = 0  # on their way
        self.ears: list[Ear] = []
        self.owed: dict[Ear, list[bytes]] = {}
        self.number = 0

    @rule(chosen=st.sets(names, min_size=1))
    def enter(self, chosen: set[str]) -> None:
        self.ears.append(self.rig.listener(*chosen))

    @precondition(lambda self: self.ears)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        ear = data.draw(st.sampled_from(self.ears))
        self.ears.remove(ear)
        self.owed.pop(ear, None)
        ear.leave()

    @rule()
    def connect(self) -> None:
        self.drop()
        self.up = True
        self.rig.subscriptions.connected()

    @rule()
    def drop(self) -> None:
        self.up = False
        self.subscribed.clear()
        self.answers = 0
        self.rig.asked.clear()
        self.rig.subscriptions.lost()

    @precondition(lambda self: len(self.rig.asked) > self.answers)
    @rule()
    def the_server_does_it(self) -> None:
        name, hear = self.rig.asked[self.answers]
        (self.subscribed.add if hear else self.subscribed.discard)(name)
        self.answers += 1

    @precondition(lambda self: self.answers)
    @rule()
    def an_answer_arrives(self) -> None:
        self.answers -= 1
        self.rig.answer()

    @precondition(lambda self: self.ears)
    @rule(data=st.data())
    def waits_no_longer(self, data: st.DataObject) -> None:
        self.rig.subscriptions.no_longer_waits(data.draw(st.sampled_from(self.ears)).listener)

    @rule()
    def nobody_is_there(self) -> None:
        self.drop()
        self.rig.subscriptions.unreachable()

    @rule(name=names)
    def publish(self, name: str) -> None:
        self.number += 1
        payload = b"%d" % self.number
        for ear in self.ears:
            # Entered, and not told of a gap since: it must hear this, or be told of one later.
            if ear.ready.done() and name.encode() in {word.name for word in ear.listener.words}:
                self.owed.setdefault(ear, []).append(payload)
        if name in self.subscribed:
            self.rig.hear(name, payload)

    @invariant()
    def what_is_missing_is_told_in_its_place(self) -> None:
        """Between two messages without a gap there was none that it should have heard."""
        for ear in self.ears if hasattr(self, "rig") else ():
            owed, before = self.owed.get(ear, []), 0
            for item in ear.told:
                if item == GAP:
                    before = self.number + 1  # whatever is missing up to the next message
                else:
                    assert not [p for p in owed if before < int(p) < int(item)], ear.told
                    before = int(item)

    @invariant()
    def what_is_owed_is_heard_or_a_gap_is_told(self) -> None:
        if not hasattr(self, "rig") or not self.up or self.rig.asked:
            return  # all is said when nothing is on its way
        for ear in self.ears:
            assert ear.ready.done()
            last = next((int(p) for p in reversed(ear.told) if p != GAP), 0)
            missing = [p for p in self.owed.get(ear, []) if int(p) > last]
            assert not missing or ear.told[-1] == GAP
        assert self.subscribed == {w.name.decode() for ear in self.ears for w in ear.listener.words}

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.loop.close()
            asyncio.set_event_loop(None)


Server.TestCase.settings = settings(
    stateful_step_count=40, max_examples=max(settings.default.max_examples, 100)
)
TestServer = Server.TestCase
