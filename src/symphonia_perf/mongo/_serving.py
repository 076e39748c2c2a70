"""Whether an index serves a query: by its key alone, and by what explain says."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from symphonia_perf.mongo._texts import value
from symphonia_perf.typing import Document

__all__ = ["ServedQuery", "explain_command", "sort_fault", "verdict"]

# find()'s words, where the server's are not the same in camel case.
_WORDS = {"max_time_ms": "maxTimeMS"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedQuery:
    """What the query planner does with one query that was declared with an index."""

    collection: str
    index: str  # the index that was declared to serve it
    query: Document  # as find() takes it
    used: tuple[str, ...]  # the indexes of the winning plan; none is a scan of the collection
    sorts: bool  # whether the plan sorts in memory
    empty: bool = False  # whether its collection holds nothing, which is asked where another wins

    @property
    def fault(self) -> str | None:
        """Why this is not what was declared, None when it is."""
        if self.used != (self.index,):
            wins = " and ".join(map(repr, self.used)) or "a scan of the collection"
            fault = f"{wins} wins"
        elif self.sorts:
            fault = "sorts in memory"
        else:
            return None
        return (
            f"{fault}, but the collection is empty, so that proves little" if self.empty else fault
        )

    def describe(self) -> str:
        """One line: the index, the query and what became of it."""
        shape = value(self.query["filter"])
        if "sort" in self.query:
            shape += f" sorted by {value(dict(self.query['sort']))}"
        return f"{self.collection}: {self.index} for {shape}: {self.fault or 'wins'}"


def explain_command(collection: str, query: Mapping[str, Any]) -> Document:
    """The explain command for a query given in the words of the driver's `find()`."""
    find: Document = {"find": collection}
    for word, given in query.items():
        name = _WORDS.get(word) or _camel(word)
        find[name] = dict(given) if word == "sort" else given
    return {"explain": find, "verbosity": "queryPlanner"}


def verdict(collection: str, index: str, query: Document, explained: Document) -> ServedQuery:
    """What the answer to `explain_command` says about `index`."""
    stages = list(_stages(explained["queryPlanner"]["winningPlan"]))
    used = [_index_of(stage) for stage in stages]
    # A sort by relevance has no index to come from.
    by_field = any(not isinstance(kind, Mapping) for _, kind in query.get("sort", ()))
    return ServedQuery(
        collection=collection,
        index=index,
        query=query,
        used=tuple(dict.fromkeys(name for name in used if name)),
        sorts=by_field and any(stage.get("stage") == "SORT" for stage in stages),
    )


def sort_fault(key: Sequence[tuple[str, str]], query: Document) -> str | None:
    """Why an index with this key cannot deliver the order that `query` asks for, by rule.

    Fields that the filter compares by equality may stand anywhere before and between the fields of
    the sort; those must follow in order, all in the index's directions or all against them.
    https://www.mongodb.com/docs/manual/tutorial/sort-results-with-indexes/
    """
    fixed = set(_equalities(query.get("filter", {})))
    wanted = [(path, kind) for path, kind in query.get("sort", ()) if path not in fixed]
    if any(isinstance(kind, Mapping) for _, kind in wanted):
        return None
    for turn in (1, -1):
        remaining = [(path, str(kind * turn)) for path, kind in wanted]
        for path, kind in key:
            if remaining and (path, kind) == remaining[0]:
                remaining.pop(0)
            elif path not in fixed:
                break
        if not remaining:
            return None
    return f"does not serve the sort {value(dict(query['sort']))}: the server sorts in memory"


def _equalities(expression: Mapping[str, Any]) -> Iterator[str]:
    for path, wanted in expression.items():
        if path == "$and":
            for branch in wanted:
                yield from _equalities(branch)
        elif not path.startswith("$"):
            operators = isinstance(wanted, Mapping) and [w for w in wanted if w.startswith("$")]
            # The server merges the sorted runs of an $in, so its order survives.
            if not operators or {"$eq", "$in"} & set(operators):
                yield path


def _stages(plan: Any) -> Iterator[Document]:
    """Every stage of a plan, outermost first; shards and the slot-based engine nest them deeper."""
    if isinstance(plan, Mapping):
        if "stage" in plan:
            yield dict(plan)
        for inner in plan.values():
            yield from _stages(inner)
    elif isinstance(plan, list):
        for inner in plan:
            yield from _stages(inner)


def _index_of(stage: Document) -> str | None:
    return "_id_" if stage.get("stage") == "IDHACK" else stage.get("indexName")


def _camel(word: str) -> str:
    first, *rest = word.split("_")
    return first + "".join(part.title() for part in rest)
