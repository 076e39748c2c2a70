"""One connection under many callers: every command of an event-loop turn leaves in one write.

Per-command awaits, locks, stream readers and a pool checkout cost 40 to 120 us each in other
clients, while the server is idle. Here a command is packed in C, appended to a list and gets a
future; at the end of the turn the list is joined and written once, and replies wake the futures in
the order of the commands. `benchmarks/redis/bench_client.py` compares.
"""

import asyncio
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import hiredis

from symphonia_perf.redis._packing import pack_words
from symphonia_perf.redis._slots import Broken, Late, Many, Slot, fail, give_up

__all__ = ["Broken", "Connection", "Many", "ServerRefusal", "Slot", "fail", "pack_words"]

_LATE = "no reply; it may have been executed (deadline {:g} s)"
_BAR, _NEWLINE = b"|\n"
_LINE_WITH_BAR = re.compile(rb"\r\n\|")  # takes two thirds of the time of bytes.find
_FEED = 16 * 2**10  # bytes given to the parser at a time; 8 and 32 KiB are no better
_PIECE = 256 * 2**10  # bytes given to the transport at a time, of what is larger
_NOT_YET = object()  # gets() says False both for RESP3's false and for "no data" unless told
ServerRefusal = hiredis.ReplyError
"""An error that the server answered with."""


class Connection(asyncio.Protocol):
    """The protocol object: bytes in, futures done; it never reconnects and knows no commands.

    Deadlines cost one timer per connection, not one per command (`call_later` per command: -33 %
    at 64 tasks): each write leaves a mark, and the timer looks at the oldest. A command whose time
    is up keeps its place in the line, so that its late reply is taken off and given to nobody.

    Args:
        loop: the running event loop.
        deadline: seconds from the first command of a turn to the timeout of all of it.
        max_in_flight: commands without a reply, from which on there is no room.
        max_bytes: their packed bytes, from which on there is no room.
        max_reply: bytes of a reply that is not complete yet.
        on_lost: told once, with the reason, after everybody in flight was told.
        on_room: told when there may be room again.
        on_push: gets what the server says unasked (RESP3).
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        deadline: float,
        max_in_flight: int,
        max_bytes: int,
        max_reply: int,
        on_lost: "Callable[[Connection, str], None]",
        on_room: Callable[[], None],
        on_push: Callable[[list[Any]], None],
    ) -> None:
        self._loop = loop
        self._deadline = deadline
        self._max_in_flight = max_in_flight
        self._max_bytes = max_bytes
        self._max_reply = max_reply
        self._on_lost = on_lost
        self._on_room = on_room
        self._on_push = on_push
        self._reader: Any = hiredis.Reader(notEnoughData=_NOT_YET)
        self._transport: asyncio.Transport | None = None
        self._reason = "the server closed the connection"
        self._pending: deque[Slot] = deque()  # in the order in which replies will come
        self._buffer: list[bytes] = []  # packed in this turn, not yet written
        self._rest: deque[memoryview] = deque()  # of large writes, not yet with the transport
        self._paused = False  # the transport has enough for now
        self._flushing = False
        self._began = 0.0  # when the first of them was submitted
        self._eager = True  # the last write was one caller's: a lone caller need not wait
        self._retiring = ""  # why it lets nobody in any more, and ends when all are answered
        self._sent = self._answered = self._expired = 0  # commands, counted from the start
        self._unfinished = 0  # bytes of the reply that is not complete yet
        # (commands sent so far, bytes, when their time is up) of each write not yet answered
        self._marks: deque[tuple[int, int, float]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self.bytes_in_flight = 0
        # Read by every caller, so an attribute; `on_room` decides when it is true again.
        self.roomy = True
        self.reads = 0  # how often data came
        self._ended = _NEWLINE  # the last byte that came
        # What goes to `on_push`. On RESP2 a subscriber sets it to `list`: all it hears is that.
        self.unasked: type[list[Any]] = hiredis.PushNotification

    # What callers use

    def submit_one(self, packed: bytes, slot: Slot) -> None:
        """Send one command and give its reply to `slot`: `submit` for the path of every command."""
        pending = self._pending
        pending.append(slot)
        self._buffer.append(packed)
        in_flight = self.bytes_in_flight = self.bytes_in_flight + len(packed)
        # Bytes are counted here, where they are packed: a transport's own limit is noticed only
        # when a turn's commands are all in memory (48 MB were, in a trial).
        if in_flight >= self._max_bytes or len(pending) >= self._max_in_flight:
            self.roomy = False
        if not self._flushing:
            self._leave(alone=len(pending) == 1)

    def submit(self, packed: bytes, slot: Slot, count: int) -> None:
        """Send `packed`, which holds `count` commands, and give their replies to `slot`."""
        self._pending.extend([slot] * count)
        self._buffer.append(packed)
        self.bytes_in_flight += len(packed)
        self.roomy = self.has_room()
        if not self._flushing:
            self._leave(alone=len(self._pending) == count)

    def _leave(self, *, alone: bool) -> None:
        """Write at the end of this turn, or at once where nobody else spoke the last time either.

        Joining nothing would only cost a lone caller a turn of the loop.
        """
        # Time counts from the first command of a turn: packing a thousand takes 10 ms, and who
        # spoke first must not be told late for it.
        self._began = self._loop.time()
        if alone and self._eager:
            self._flush()
        else:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def answer(self, push: list[Any]) -> None:
        """Give a push to the command in line: it is how SUBSCRIBE and its kin are answered."""
        slot = self._pending.popleft()
        if not slot.done():
            slot.set_result(push)

    def has_room(self) -> bool:
        """Whether one more caller may be let in. What is larger than all room may go alone."""
        return (
            len(self._pending) < self._max_in_flight
            and self.bytes_in_flight < self._max_bytes
            and not self._retiring
        )

    @property
    def in_flight(self) -> int:
        """Commands without a reply."""
        return len(self._pending)

    @property
    def lost(self) -> bool:
        """Whether it can be used no more."""
        return self._transport is None or self._transport.is_closing()

    @property
    def unsent(self) -> int:
        """Bytes that the kernel has not taken yet: while they get fewer, the peer takes them."""
        if self._transport is None:
            return 0
        return self._transport.get_write_buffer_size() + sum(map(len, self._rest))

    def retire(self, reason: str) -> None:
        """Let nobody in any more, and end when those in flight have their replies."""
        self._retiring = reason
        self.roomy = False
        if not self._pending:
            self.abort(reason)

    def abort(self, reason: str) -> None:
        """Drop the connection at once, with everything in flight; who comes later waits."""
        self._reason = self._retiring = reason
        self.roomy = False
        if self._transport is not None:
            self._transport.abort()

    # What the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the transport."""
        self._transport = transport  # type: ignore[assignment]  # a stream transport

    def data_received(self, data: bytes) -> None:
        """Wake those whose replies are complete.

        hiredis takes an attribute of RESP3 for a reply, which would shift all that follow by one.
        Nobody asks for attributes, so the first ends the connection. To look for its sign takes
        0.1 us for 2 KB without any (as bytes instead of a number 0.4), and 1.7 for binary data;
        only where it begins a line the data is taken by the piece, because then what the reader has
        left tells the end of a value from the middle of a text.
        """
        start = 0
        ended, self._ended = self._ended, data[-1]
        if _BAR in data:
            for at in _line_starts(data, ended):
                self._take(data[start:at])
                if self.lost:
                    return
                if not self._reader.has_data():
                    self.abort("the server sent an attribute, which shifts all replies")
                    return
                start = at
        self._take(data[start:] if start else data)

    def _take(self, data: bytes) -> None:
        """Give each reply to its slot.

        hiredis moves all that it has left to the front after each reply, so data is fed by the
        piece: 256 tasks that read 2 KB take 10 us each where 256 KiB are fed at once, and 7 so.
        """
        self.reads += 1
        pending, reader, unasked, not_yet = self._pending, self._reader, self.unasked, _NOT_YET
        gets, before, pushed = reader.gets, len(pending), False
        try:
            for piece in (data,) if len(data) <= _FEED else _pieces(data):
                reader.feed(piece)
                while (reply := gets()) is not not_yet:
                    if type(reply) is unasked:
                        pushed = True
                        self._on_push(reply)
                        continue
                    slot = pending.popleft()
                    try:  # noqa: SIM105 - it, or to ask each whether it is done, would cost all
                        slot.set_result(reply)  # a refusal, too: its caller looks at the reply
                    except asyncio.InvalidStateError:
                        pass  # nobody waits any more
        except Exception as error:  # noqa: BLE001 - whatever the parser cannot take ends it
            # After such an error the reader is out of step: the next reply would be another's.
            self.abort(f"a reply that cannot be understood: {error!r:.200}")
            return
        finally:
            answered = before - len(pending)
            self._answered += answered
        # Not the reader's length alone: it lets go of the elements of a list as they come.
        if answered or pushed:
            self._unfinished = reader.len()
        else:
            self._unfinished += len(data)
        if self._unfinished > self._max_reply:
            self.abort(f"a reply of more than {self._max_reply} bytes (max_reply)")
            return
        self._settle()

    def _settle(self) -> None:
        """Count what was answered, and let others in."""
        marks, answered = self._marks, self._answered
        while marks and marks[0][0] <= answered:
            self.bytes_in_flight -= marks.popleft()[1]
        if self._retiring:
            if not self._pending:
                self.abort(self._retiring)
        elif not self.roomy:
            self._on_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everybody who waits; who was not written yet is told that, too."""
        if exc is not None:
            self._reason = f"{self._reason} ({exc!r:.200})"
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        written = self._sent - self._answered
        self._rest.clear()
        slots, self._pending = self._pending, deque()
        _fail_all(islice(slots, written), f"{self._reason}; it may have been executed")
        _fail_all(islice(slots, written, None), f"{self._reason}; it was not sent")
        self._on_lost(self, self._reason)

    def pause_writing(self) -> None:
        """The transport has enough; only what is large is held back here."""
        self._paused = True

    def resume_writing(self) -> None:
        """The transport takes more."""
        self._paused = False
        if self._rest:
            # Not from in here: where such a write fails, asyncio 3.11 closes the socket twice.
            self._loop.call_soon(self._write_rest)

    # The end of a turn, and of a wait

    def _flush(self) -> None:
        self._flushing = False
        buffer = self._buffer
        if not buffer or self._transport is None or self._transport.is_closing():
            return  # who is in it will hear that it was not sent
        data = buffer[0] if len(buffer) == 1 else b"".join(buffer)
        self._eager = len(buffer) == 1
        self._buffer = []
        if len(data) <= _PIECE and not self._rest:
            self._transport.write(data)
        else:
            self._rest.append(memoryview(data))
            self._write_rest()
        pending = self._answered + len(self._pending)
        self._sent = pending
        when = self._began + self._deadline
        self._marks.append((pending, len(data), when))
        if self._timer is None:
            self._timer = self._loop.call_at(when, self._expire)

    def _write_rest(self) -> None:
        """Go on with large writes, by the piece.

        What a transport cannot send at once it copies: 64 MB would hold up the loop for 80 ms.
        """
        rest, transport = self._rest, self._transport
        while rest and not self._paused and transport is not None and not transport.is_closing():
            view = rest.popleft()
            if len(view) > _PIECE:
                rest.appendleft(view[_PIECE:])
            transport.write(view[:_PIECE])

    def _expire(self) -> None:
        self._timer = None
        now = self._loop.time()
        upto, following = self._expired, None
        for sent, _, when in self._marks:
            if when > now:
                following = when
                break
            upto = sent
        # Those before `_expired` were told already, and the answered ones are gone.
        start = max(self._expired - self._answered, 0)
        late = Late(_LATE.format(self._deadline))
        for slot in islice(self._pending, start, max(upto - self._answered, start)):
            if not (type(slot) is Many and slot.own_deadline):
                give_up(slot, late)
        self._expired = upto
        if following is not None:
            self._timer = self._loop.call_at(following, self._expire)


def _pieces(data: bytes) -> Iterator[memoryview]:
    view = memoryview(data)
    for start in range(0, len(data), _FEED):
        yield view[start : start + _FEED]


def _line_starts(data: bytes, ended: int) -> Iterator[int]:
    """Where a bar begins a line; `ended` is the byte before the data."""
    if data[0] == _BAR and ended == _NEWLINE:
        yield 0
    elif data[:2] == b"\n|":
        yield 1
    for found in _LINE_WITH_BAR.finditer(data):
        yield found.end() - 1


def _fail_all(slots: Iterable[Slot], reason: str) -> None:
    for slot in slots:
        if not slot.done():
            fail(slot, Broken(reason))
