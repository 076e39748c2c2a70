"""Slow operations, from the driver's command events."""

from collections.abc import Mapping
from threading import get_ident
from typing import Any

from pymongo import monitoring

from symphonia_perf._core.durations import seconds
from symphonia_perf._core.events import Observer, SlowOperationEvent, emit
from symphonia_perf.mongo._given import checked_observer
from symphonia_perf.mongo._pool_counts import address_text
from symphonia_perf.typing import Seconds

__all__ = ["SlowOperationListener"]

_PENDING = 2_000  # commands on their way whose collection is remembered
_CURSORS = 1_000  # that wait for news, and are not slow when there is none
_UNKNOWN = (None, None, False)

# Commands whose value names their collection. Others have a user's name, a parameter's ... there.
_OF_COLLECTIONS = {
    *("aggregate", "collMod", "collStats", "count", "create", "createIndexes", "delete"),
    *("distinct", "drop", "dropIndexes", "find", "findAndModify", "insert", "listIndexes"),
    *("mapReduce", "update", "validate"),
}


class SlowOperationListener(monitoring.CommandListener):
    """Tells of each command that took longer than a threshold, as a `SlowOperationEvent`.

    The event names command, database, collection and server, keeps the operation's comment and
    holds nothing of the command itself. What waits for news is not slow: a change stream, a
    tailable cursor, the `hello` of `warm`. An operation that its caller cancelled is never told:
    the driver reports nothing, so set `max_time`, and the server ends it and it is.

    ```python
    from symphonia_perf.mongo import SlowOperationListener, create_client

    slow = SlowOperationListener(0.25, print)
    with create_client(event_listeners=[slow]):
        pass                                                # orders = client["shop"]["orders"] ...
    ```

    Args:
        threshold: seconds that are still not slow; 0 tells of every command.
        observer: receives the events, inside the driver, so it must be quick, and is not told what
            it asks of MongoDB itself; None: they are logged, at most one for each command and
            collection in 10 s.

    Raises:
        ConfigurationError: the threshold is no duration, or the observer no callable.
    """

    def __init__(self, threshold: Seconds = 0.1, observer: Observer | None = None) -> None:
        self._micros = seconds(threshold, option="threshold", zero=True) * 1e6
        self._observer = checked_observer(observer)
        # Request -> collection, comment, whether its cursor waits for news. Single operations of a
        # dict are atomic, on free-threaded builds as well, so there is no lock.
        self._pending: dict[int, tuple[object, object, bool]] = {}
        self._cursors: dict[object, None] = {}  # that wait for news
        self._telling: set[int] = set()  # threads that are in the observer

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        """Remember what only this event tells."""
        command, name = event.command, event.command_name
        waits = False
        if name in _OF_COLLECTIONS:
            collection = command.get(name)
            if name == "find":
                waits = "tailable" in command
            elif name == "aggregate":
                waits = _watches(command.get("pipeline"))
        elif name == "getMore":
            collection = command.get("collection")
            waits = command.get(name) in self._cursors
        else:
            collection = None
            waits = name == "hello" and "maxAwaitTimeMS" in command  # as `warm` asks it to
        if len(self._pending) >= _PENDING:
            _halve(self._pending)
        self._pending[event.request_id] = (collection, command.get("comment"), waits)

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Tell of it if it was slow."""
        collection, comment, waits = self._pending.pop(event.request_id, _UNKNOWN)
        if waits:
            if event.command_name in {"getMore", "hello"}:
                return
            if len(self._cursors) >= _CURSORS:
                _halve(self._cursors)
            self._cursors[event.reply.get("cursor", {}).get("id")] = None
        if event.duration_micros > self._micros:
            self._tell(event, collection, comment)

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Tell of it if it was slow to fail."""
        collection, comment, _ = self._pending.pop(event.request_id, _UNKNOWN)
        if event.duration_micros > self._micros:
            failure = event.failure
            # The driver's own errors, of the network for example, have a type instead.
            name = failure.get("codeName") or failure.get("errtype") or "unknown error"
            self._tell(event, collection, comment, code=failure.get("code"), error=name)

    def _tell(
        self,
        event: monitoring.CommandSucceededEvent | monitoring.CommandFailedEvent,
        collection: object,
        comment: object,
        *,
        code: int | None = None,
        error: str | None = None,
    ) -> None:
        told = SlowOperationEvent(
            source="mongo",
            command=event.command_name,
            database=event.database_name,
            collection=collection if isinstance(collection, str) else "",
            duration=event.duration_micros / 1e6,
            comment=comment,
            address=address_text(event.connection_id),
            connection=event.server_connection_id,
            request_id=event.request_id,
            code=code,
            error=error,
        )
        thread = get_ident()
        if thread not in self._telling:  # what the observer itself asks the client is not told
            self._telling.add(thread)
            try:
                emit(self._observer, told)
            finally:
                self._telling.discard(thread)


def _watches(pipeline: object) -> bool:
    """Whether this is a change stream, whose cursor waits for news."""
    if not isinstance(pipeline, list) or not pipeline:
        return False
    first = pipeline[0]
    return isinstance(first, Mapping) and "$changeStream" in first


def _halve(known: dict[Any, Any]) -> None:
    """Forget the older half: of commands that were cancelled, the driver never tells the end."""
    for key in list(known)[: len(known) // 2]:
        known.pop(key, None)
