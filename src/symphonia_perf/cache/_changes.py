"""What a database's changes mean for a cache: which to ask for, and what each makes wrong. Pure.

https://www.mongodb.com/docs/manual/reference/change-events/
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Literal, TypeAlias, get_args
from uuid import UUID

from symphonia_perf.cache.rules import InvalidationRules
from symphonia_perf.errors import ConfigurationError
from symphonia_perf.typing import Document

__all__ = ["Batch", "Operation", "Route", "Routes", "changed_at", "may_resume"]

Operation: TypeAlias = Literal["insert", "update", "replace", "delete"]
"""What can happen to one document."""

_OPERATIONS: tuple[Operation, ...] = get_args(Operation)
_KEY = "_id"
# The server's answers to a token that leads nowhere any more: the oplog has moved past it, it is
# of another cluster or damaged, or what follows it is larger than 16 MB.
_LOST = frozenset({15, 136, 260, 280, 286, 10334, 40647, 40649})
_LOST_LABEL = "NonResumableChangeStreamError"
# The answers that say nothing about the place: what drivers may go on after, by their
# specification (https://github.com/mongodb/specifications/tree/master/source/change-streams), what
# ends by itself (11, 13, 18, 391: rights; 24, 46: locks; 50, 202: time; 11601, 237: killed).
_PASSING = frozenset(
    {6, 7, 11, 13, 18, 24, 43, 46, 50, 63, 89, 91, 133, 134, 150, 189, 202, 234, 237, 262, 391}
    | {9001, 10107, 11600, 11601, 11602, 13388, 13435, 13436}
)
_PASSING_LABEL = "ResumableChangeStreamError"
# By name, as no driver is imported here: PyMongo's for a server that is not reached, or not the
# primary, and for a client that was closed.
_UNREACHABLE = frozenset({"ConnectionFailure", "InvalidOperation"})
_UUID = 4  # the subtype of binary values that says the order of the bytes, too; 3 does not
_MISSING = object()


@dataclass(frozen=True, slots=True)
class Route:
    """Which event of the rules a collection's changes are, where its name does not say enough.

    ```python
    from symphonia_perf.cache import Route

    contract = Route(
        "contract.changed",
        fields={"id": "_id", "client_id": "clientId"},
        operations=("insert", "update"),
    )
    ```

    Raises:
        ConfigurationError: names the option, its value and what is allowed.
    """

    event: str
    _: KW_ONLY
    # Where each of the event's fields stands in a document, as `a.b` within others. Default: `id`
    # is `_id`, and an event without fields needs none.
    fields: Mapping[str, str] | None = None
    # What of a document's life matters; default all four.
    operations: Sequence[Operation] = _OPERATIONS
    # Whether the server keeps what documents were before (`changeStreamPreAndPostImages`, MongoDB
    # 6), or has the fields in the shard key. Needed where a deletion must tell other fields than
    # `_id`; an update then tells the old values, too. Default False.
    before: bool = False

    def __post_init__(self) -> None:
        """Check every field."""
        event: object = self.event
        if not isinstance(event, str) or not event:
            raise ConfigurationError(f"event={event!r}: expected a name such as 'carrier.changed'")
        operations: object = self.operations
        listed = () if isinstance(operations, str) else tuple(self.operations)
        if not listed or not set(listed) <= set(_OPERATIONS):
            raise ConfigurationError(
                f"operations={operations!r}: expected some of {list(_OPERATIONS)}"
            )
        object.__setattr__(self, "operations", tuple(dict.fromkeys(listed)))
        fields: object = self.fields
        if fields is not None and not isinstance(fields, Mapping):
            raise ConfigurationError(f"fields={fields!r}: expected a dict, as {{'id': '_id'}}")
        for name, path in (self.fields or {}).items():
            if not _is_path(path):
                raise ConfigurationError(
                    f"fields: {name!r} comes from {path!r}; expected a path such as 'client.id'"
                )

    @property
    def paths(self) -> tuple[str, ...]:
        """Where it looks besides the document's own key."""
        paths = (self.fields or {}).values()
        return tuple(path for path in paths if path != _KEY and not path.startswith(f"{_KEY}."))


class Batch:
    """What some changes make wrong together.

    Attributes:
        tags: to bump.
        keys: to delete.
        patterns: to remove by.
        everything: why nothing can be trusted any more; empty where the others say it all.
    """

    def __init__(self) -> None:
        self.tags: dict[str, None] = {}
        self.keys: dict[str, None] = {}
        self.patterns: dict[str, None] = {}
        self.everything = ""


class Routes:
    """The routes of one database, held against the rules of the cache.

    Args:
        routes: by collection, an event or a `Route`.
        rules: of the cache.

    Raises:
        ConfigurationError: no routes, an event that no rule is about, or a field of one whose place
            in the document is not known.
    """

    def __init__(self, routes: Mapping[str, str | Route], rules: InvalidationRules) -> None:
        given: object = routes
        if not isinstance(given, Mapping) or not given:
            raise ConfigurationError(
                f"routes={routes!r}: expected a dict, as {{'carriers': 'carrier.changed'}}"
            )
        self._rules = rules
        self._routes: dict[str, Route] = {}
        for collection, route in given.items():
            if not isinstance(collection, str) or not collection or "$" in collection:
                raise ConfigurationError(f"routes: {collection!r} is no collection's name")
            self._routes[collection] = _checked(collection, route, rules)

    def pipeline(self) -> list[Document]:
        """What the server filters and leaves out, so that it sends little.

        What becomes of whole collections and of the database is always sent.
        """
        alternatives: list[Document] = []
        for operations in dict.fromkeys(route.operations for route in self._routes.values()):
            names = [name for name, each in self._routes.items() if each.operations == operations]
            wanted = {"operationType": {"$in": list(operations)}, "ns.coll": {"$in": names}}
            alternatives.append(wanted)
        every = {"$in": list(self._routes)}
        ends = {"$in": ["drop", "rename"]}
        alternatives += (
            {"operationType": ends, "ns.coll": every},
            {"operationType": ends, "to.coll": every},
            {"operationType": {"$in": ["dropDatabase", "invalidate"]}},
        )
        shown = dict.fromkeys(
            ("operationType", "ns", "to", "documentKey", "clusterTime", "wallTime"), 1
        )
        for path in self._paths(self._routes.values()):
            shown[f"fullDocument.{path}"] = 1
        for path in self._paths(each for each in self._routes.values() if each.before):
            shown[f"fullDocumentBeforeChange.{path}"] = 1
        return [{"$match": {"$or": alternatives}}, {"$project": shown}]

    def options(self) -> Document:
        """What `watch` has to be told besides."""
        options: Document = {}
        looking = [each for each in self._routes.values() if each.paths]
        if any("update" in each.operations for each in looking):
            options["full_document"] = "updateLookup"
        if any(each.before for each in looking):
            options["full_document_before_change"] = "whenAvailable"
        return options

    def fingerprint(self, start: str) -> str:
        """Tells apart those that would do something else at the same change."""
        said = [start]
        for name, route in sorted(self._routes.items()):
            said += (name, repr(route), *self._rules.described(route.event))
        return blake2b("\n".join(said).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()

    def judge(self, change: Document, batch: Batch) -> bool:
        """Add what a change makes wrong; False: it was the stream's last."""
        operation = change["operationType"]
        if operation == "invalidate":
            return False
        if operation == "dropDatabase":
            for name in self._routes:
                self._end(name, operation, batch)
        elif operation in {"drop", "rename"}:
            for name in {change[where]["coll"] for where in ("ns", "to") if where in change}:
                self._end(name, operation, batch)
        else:
            name = change["ns"]["coll"]
            for fields in _told(self._routes[name], change):
                self._add(name, fields, batch)
        return True

    def _end(self, collection: str, operation: str, batch: Batch) -> None:
        """All documents of a collection are others, or gone."""
        route = self._routes.get(collection)
        if route is None:
            return
        if route.fields:
            batch.everything = f"{operation} of {collection!r}"
        else:
            self._add(collection, {}, batch)

    def _add(self, collection: str, fields: Document | None, batch: Batch) -> None:
        event = self._routes[collection].event
        if fields is None:
            batch.everything = f"a document of {collection!r} whose fields are not known any more"
            return
        try:
            effects = self._rules.effects(event, fields)
        except ConfigurationError as error:  # a value that no key can have
            batch.everything = f"a document of {collection!r}: {error}"
            return
        batch.tags.update(dict.fromkeys(effects.tags))
        batch.keys.update(dict.fromkeys(effects.delete))
        batch.patterns.update(dict.fromkeys(effects.match))

    def _paths(self, routes: Iterable[Route]) -> list[str]:
        """Those that are shown; of two where one holds the other, the server takes the outer."""
        kept: list[str] = []
        for path in sorted({path for route in routes for path in route.paths}):
            if not any(path.startswith(f"{outer}.") for outer in kept):
                kept.append(path)
        return kept


def _is_path(path: object) -> bool:
    return isinstance(path, str) and all(path.split(".")) and "$" not in path


def _checked(collection: str, route: object, rules: InvalidationRules) -> Route:
    if isinstance(route, str):
        route = Route(route)
    if not isinstance(route, Route):
        raise ConfigurationError(
            f"routes: {collection!r} leads to {route!r}; expected an event or Route(...)"
        )
    wanted, fields = rules.fields(route.event), route.fields
    if fields is None and wanted <= {"id"}:
        fields = dict.fromkeys(wanted, _KEY)
    if fields is None or fields.keys() != wanted:
        raise ConfigurationError(
            f"routes: event {route.event!r} tells {sorted(wanted)}, and for {collection!r} it is"
            f" said where to find {sorted(fields or ())}; write"
            f" Route({route.event!r}, fields={{'id': '_id', ...}})"
        )
    route = replace(route, fields=dict(fields))
    if "delete" in route.operations and route.paths and not route.before:
        raise ConfigurationError(
            f"routes: a deletion in {collection!r} tells only the document's key, not"
            f" {list(route.paths)}; leave 'delete' out of operations, or let the server keep what"
            " documents were (changeStreamPreAndPostImages) and say before=True"
        )
    return route


def _told(route: Route, change: Document) -> list[Document | None]:
    """The event's fields, once for each state of the document that is told; None: not known."""
    key: Document = change["documentKey"]
    if not route.paths:
        return [_filled(route, key, {})]
    if all(_find(key, path) is not _MISSING for path in route.paths):
        return [_filled(route, key, {})]  # of the shard key
    told: list[Document | None] = []
    operation = change["operationType"]
    if operation != "delete":
        is_now = change.get("fullDocument")
        if isinstance(is_now, Mapping):
            told.append(_filled(route, key, is_now))
        elif operation != "update" or "delete" not in route.operations:
            told.append(None)
        # Else it was deleted since, which will tell what it was last.
    if operation != "insert" and route.before:
        was = change.get("fullDocumentBeforeChange")
        told.append(_filled(route, key, was) if isinstance(was, Mapping) else None)
    return told


def _filled(route: Route, key: Document, image: Mapping[str, Any]) -> Document:
    fields: Document = {}
    for name, path in (route.fields or {}).items():
        found = _find(key, path)
        if found is _MISSING:
            found = _find(image, path)
        fields[name] = None if found is _MISSING else _as_called(found)
    return fields


def _as_called(value: Any) -> Any:
    """A UUID for what PyMongo makes of one by default, which is bytes with a subtype."""
    if isinstance(value, bytes) and getattr(value, "subtype", 0) == _UUID and len(value) == 16:
        return UUID(bytes=bytes(value))
    return value


def _find(document: Any, path: str) -> Any:
    for part in path.split("."):
        if not isinstance(document, Mapping) or part not in document:
            return _MISSING
        document = document[part]
    return document


def changed_at(change: Document) -> float | None:
    """When the server says it happened, in seconds since 1970; None: it does not say."""
    wall = change.get("wallTime")
    if isinstance(wall, datetime):  # MongoDB 6; PyMongo gives it in UTC, aware or not
        return (wall if wall.tzinfo else wall.replace(tzinfo=UTC)).timestamp()
    seconds = getattr(change.get("clusterTime"), "time", None)
    return float(seconds) if isinstance(seconds, int) else None


def may_resume(error: BaseException) -> bool:
    """Whether a stream that failed may go on where it was, once the server is well.

    What is not known to pass would be met there again, as a change that the driver cannot decode.
    """
    code, labelled = getattr(error, "code", None), getattr(error, "has_error_label", None)
    if code in _LOST or (labelled and labelled(_LOST_LABEL)):
        return False
    if code in _PASSING or (labelled and labelled(_PASSING_LABEL)):
        return True
    names = {each.__name__ for each in type(error).__mro__}
    return isinstance(error, OSError) or not _UNREACHABLE.isdisjoint(names)
