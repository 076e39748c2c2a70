"""Who listens to what, and what the server knows of it: no I/O.

A name is asked for one step at a time: while SUBSCRIBE or UNSUBSCRIBE is on its way, what listeners
want meanwhile waits for the answer. So an answer is never taken for that to another question, and
a listener is told that it hears when this is true.
"""

from asyncio import Future
from collections.abc import Callable
from copy import copy
from typing import Any, Protocol, TypeAlias

from symphonia_perf._core.listener import Listener, Message, Word, decoded
from symphonia_perf.errors import NotOpen

__all__ = ["Ask", "Subscriber", "Subscriptions"]

Ready: TypeAlias = "Future[Exception | None]"
"""Done when a listener may be let in: with None, or with the reason why it cannot be."""

Ask: TypeAlias = Callable[[Word, bool], None]
"""Sends one step to the server: the name, and whether to hear it from now on."""


class _Name:
    """One channel or pattern."""

    __slots__ = ("asked", "listeners", "live", "text")

    def __init__(self, word: Word) -> None:
        self.text = decoded(word.name)
        self.listeners: dict[Listener, None] = {}
        self.live = False  # the server sends its messages
        self.asked: bool | None = None  # what was asked and not answered: to hear it, or not


class _Deaf:
    """A listener that does not hear all it asked for: what is missing, and who waits for that."""

    __slots__ = ("missing", "ready")

    def __init__(self, missing: set[Word], ready: "Ready | None") -> None:
        self.missing = missing
        self.ready = ready  # None once it was let in: it is told of the gap instead

    def resolve(self, listener: Listener) -> None:
        """It hears everything, from now on."""
        if self.ready is None:
            listener.lose()
        elif not self.ready.done():
            self.ready.set_result(None)


class Subscriptions:
    """The listeners of one subscriber connection.

    Args:
        ask: called with each step that the server has to take; answered by `answered`.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._connected = False
        self._away = False  # known: who enters need not wait
        self._names: dict[Word, _Name] = {}
        self._deaf: dict[Listener, _Deaf] = {}
        self._listeners: dict[Listener, None] = {}

    def __len__(self) -> int:
        return len(self._listeners)

    @property
    def names(self) -> int:
        """How many channels and patterns somebody listens to."""
        return sum(bool(name.listeners) for name in self._names.values())

    # What listeners want

    def add(self, listener: Listener, ready: Ready) -> None:
        """Let it hear; `ready` is done when it does, or when nobody can say how long that takes."""
        self._listeners[listener] = None
        deaf = _Deaf({word for word in listener.words if not self._hears(word)}, ready)
        if deaf.missing:
            self._deaf[listener] = deaf
        for word in listener.words:
            self._names.setdefault(word, _Name(word)).listeners[listener] = None
            self._advance(word)
        if not deaf.missing:
            deaf.resolve(listener)
        elif self._away:
            self._let_in(deaf)

    def no_longer_waits(self, listener: Listener) -> None:
        """It was let in before it hears all: it will be told of the gap."""
        if deaf := self._deaf.get(listener):
            self._let_in(deaf)

    def remove(self, listener: Listener) -> None:
        """It does not want to hear any more."""
        self._listeners.pop(listener, None)
        self._deaf.pop(listener, None)
        for word in listener.words:
            if name := self._names.get(word):
                name.listeners.pop(listener, None)
                self._advance(word)

    # What the connection tells

    def connected(self) -> None:
        """There is a new connection, on which the server knows of nothing."""
        self.lost()
        self._connected, self._away = True, False
        for word in tuple(self._names):
            self._advance(word)

    def lost(self) -> None:
        """The connection is gone; there will be another."""
        self._connected = False
        for name in self._names.values():
            name.live, name.asked = False, None
        for listener in self._listeners:
            deaf = self._deaf.setdefault(listener, _Deaf(set(), None))
            deaf.missing.update(listener.words)

    def unreachable(self) -> None:
        """There is no connection, and none can be made now."""
        self._away = True
        for deaf in self._deaf.values():
            self._let_in(deaf)

    def answered(self, word: Word, *, hears: bool) -> None:
        """The server has done what was asked last."""
        name = self._names.get(word)
        if name is None or name.asked is not hears:
            return
        name.live, name.asked = hears, None
        if hears:
            for listener in tuple(name.listeners):
                deaf = self._deaf.get(listener)
                if deaf is not None:
                    deaf.missing.discard(word)
                    if not deaf.missing:
                        del self._deaf[listener]
                        deaf.resolve(listener)
        self._advance(word)

    def refused(self, word: Word, error: Exception) -> None:
        """The server will not let this be heard; its listeners end."""
        if name := self._names.pop(word, None):
            for listener in tuple(name.listeners):
                self._end(listener, error)

    def heard(self, push: list[Any]) -> bool:
        """Tell listeners if this is a message for them; False if it is something else."""
        kind = push[0]
        if kind == b"message":
            _, channel, payload = push
            if name := self._names.get((channel, False)):  # type: ignore[call-overload]  # a Word, faster made
                self._tell(name, Message(name.text, payload))
        elif kind == b"pmessage":
            _, pattern, channel, payload = push
            if name := self._names.get((pattern, True)):  # type: ignore[call-overload]  # the same
                self._tell(name, Message(decoded(channel), payload, name.text))
        else:
            return False
        return True

    def close(self, error: Exception | None = None) -> None:
        """End all listeners; those that are being let in get an error in any case."""
        self._connected = False  # nothing is asked any more
        for listener in tuple(self._listeners):
            self._end(listener, error)

    # Inside

    def _tell(self, name: _Name, message: Message) -> None:
        deaf = self._deaf
        for listener in tuple(name.listeners):
            # Who does not hear everything yet is told of the gap when it does. A message before
            # that would look as if nothing were missing before it.
            if listener not in deaf:
                listener.put(message)

    def _hears(self, word: Word) -> bool:
        name = self._names.get(word)
        # With UNSUBSCRIBE on its way it is about to fall silent, for a moment.
        return name is not None and name.live and name.asked is None

    def _advance(self, word: Word) -> None:
        """Ask for the next step towards what listeners want, unless an answer is on its way."""
        name = self._names[word]
        wanted = bool(name.listeners)
        if name.asked is not None and self._connected:
            return
        if wanted != name.live and self._connected:
            name.asked = wanted
            self._ask(word, wanted)
        elif not wanted:
            del self._names[word]

    def _let_in(self, deaf: _Deaf) -> None:
        if deaf.ready is not None and not deaf.ready.done():
            deaf.ready.set_result(None)
        deaf.ready = None

    def _end(self, listener: Listener, error: Exception | None) -> None:
        if error is not None:
            # Each raises its own: a traceback grows with everyone who raises the same.
            error, shared = copy(error), error
            error.__cause__ = shared.__cause__
        deaf = self._deaf.get(listener)
        self.remove(listener)
        if deaf is not None and deaf.ready is not None and not deaf.ready.done():
            deaf.ready.set_result(error or NotOpen("the client was closed meanwhile"))
        listener.close(error)


class Subscriber(Protocol):
    """A connection that hears, and the listeners behind it."""

    subscriptions: Subscriptions

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        ...

    def start(self) -> None:
        """Connect in the background, unless that was done."""
        ...

    async def aclose(self) -> None:
        """Close the connection and stop trying."""
        ...
