"""Python source that declares what a database has."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from typing import Any

from symphonia_perf.errors import ConfigurationError
from symphonia_perf.mongo._findings import ExistingIndexes
from symphonia_perf.mongo._index import Index
from symphonia_perf.mongo._index_rules import spelling_faults
from symphonia_perf.mongo._normalise import Specification, normalise, shortest_collation
from symphonia_perf.typing import Document

__all__ = ["python_source"]

_WIDTH = 100
_PLAIN = (1, -1)


@dataclass(frozen=True, slots=True)
class _Call:
    """One way to write an index: `Index.text("a", weights={"a": 5})`."""

    maker: str  # "" for Index itself, or a class method's name
    args: Sequence[Any]
    options: Mapping[str, Any]

    def make(self) -> Index:
        made: Index = (getattr(Index, self.maker) if self.maker else Index)(
            *self.args, **self.options
        )
        return made

    def text(self, names: set[tuple[str, str]]) -> str:
        """The call as source; what it has to import is added to `names`."""
        arguments = [_literal(item, names) for item in self.args]
        arguments += [f"{name}={_literal(item, names)}" for name, item in self.options.items()]
        callee = f"Index.{self.maker}" if self.maker else "Index"
        line = f"    {callee}({', '.join(arguments)}),"
        if len(line) <= _WIDTH:
            return line
        inside = "".join(f"        {argument},\n" for argument in arguments)
        return f"    {callee}(\n{inside}    ),"


def python_source(database: str, existing: Mapping[str, ExistingIndexes]) -> str:
    """A module that makes `indexes`, whose plan for that database is empty.

    Each line is tried: where it would not give the very index back, `Index.raw` says it.
    """
    names: set[tuple[str, str]] = set()
    blocks = [
        "\n".join(
            [
                "indexes.add(",
                f"    {_text(collection)},",
                *(_written(item, found.collation).text(names) for item in declarable),
                ")",
            ]
        )
        for collection, found in existing.items()
        if (declarable := [item for item in found.indexes if dict(item["key"]) != {"_id": 1}])
    ]
    imports: dict[str, list[str]] = {}
    for module, name in sorted(names):
        imports.setdefault(module, []).append(name)
    lines = [f"from {module} import {', '.join(found)}" for module, found in imports.items()]
    head = f'"""The indexes of the database {_text(database)}."""'
    library = "from symphonia_perf.mongo import Index, IndexRegistry"
    parts = [head, "\n".join(lines), f"{library}\n\nindexes = IndexRegistry()", *blocks]
    return "\n\n".join(part for part in parts if part) + "\n"


def _written(listed: Specification, inherited: Specification | None) -> _Call:
    """The shortest call that gives this index again."""
    wanted = normalise(listed)
    for call in _calls(listed, inherited):
        try:
            if normalise(call.make().specification(), inherited=inherited) == wanted:
                return call
        except (ConfigurationError, TypeError):  # not among what this form can say
            continue
    plain = {name: item for name, item in listed.items() if name not in {"v", "ns", "background"}}
    # What has no collation must say so where the collection has one.
    return _Call("raw", [{"collation": {"locale": "simple"}, **plain} if inherited else plain], {})


def _calls(listed: Specification, inherited: Specification | None) -> Iterator[_Call]:
    key = dict(listed["key"])
    options = dict(_options(listed, inherited))
    if "_fts" in key and len(key) == 2:
        yield _text_call(listed, options)
    elif "wildcardProjection" in listed:
        projection = listed["wildcardProjection"]
        for word, wanted in (("include", 1), ("exclude", 0)):
            paths = [path for path, kind in projection.items() if bool(kind) == bool(wanted)]
            yield _Call("wildcard", [], {word: paths, **options})
    else:
        (path, kind), *rest = key.items()
        then = [_key(*pair) for pair in rest]
        special = {"2dsphere": "geo", "hashed": "hashed", "2d": "flat"}.get(kind)
        if special == "flat":
            words = {"bits": "bits", "minimum": "min", "maximum": "max"}
            options = {
                word: listed[name] for word, name in words.items() if name in listed
            } | options
        if special:
            yield _Call(special, [path, *then], options)
        if path.endswith("$**") and not then:
            yield _Call("wildcard", [path[:-4]] if path != "$**" else [], options)
        yield _Call("", [_key(path, kind), *then], options)


def _text_call(listed: Specification, options: Document) -> _Call:
    weights = dict(listed["weights"])
    chosen = {path: weight for path, weight in weights.items() if weight != 1}
    language = {
        word: listed[name]
        for word, name, default in (
            ("language", "default_language", "english"),
            ("language_field", "language_override", "language"),
        )
        if listed.get(name, default) != default
    }
    return _Call(
        "text", list(weights), {**({"weights": chosen} if chosen else {}), **language, **options}
    )


def _options(listed: Specification, inherited: Specification | None) -> Iterator[tuple[str, Any]]:
    yield "name", listed["name"]
    for flag in ("unique", "sparse", "hidden"):
        if listed.get(flag):
            yield flag, True
    if "expireAfterSeconds" in listed:
        yield "expire_after", listed["expireAfterSeconds"]
    if "partialFilterExpression" in listed:
        yield "partial", listed["partialFilterExpression"]
    special = {"text", "2d"} & {str(kind) for kind in listed["key"].values()}
    collation = shortest_collation(listed.get("collation"))
    if not special and collation != shortest_collation(inherited):
        yield "collation", collation


def _key(path: str, kind: Any) -> Any:
    """A key as `Index` takes it: with a sign, where that says all."""
    if kind in _PLAIN and not isinstance(kind, bool) and not _is_odd(path):
        return path if kind == 1 else f"-{path}"
    return (path, kind)


def _is_odd(path: str) -> bool:
    """Whether `Index` would take the path alone for one with a direction."""
    return path.startswith("-") or any(spelling_faults(path))


def _literal(given: Any, names: set[tuple[str, str]]) -> str:
    """A value as source."""
    if type(given) is str:  # Code is one, too
        return _text(given)
    if isinstance(given, Mapping):
        items = (f"{_text(name)}: {_literal(item, names)}" for name, item in given.items())
        return "{" + ", ".join(items) + "}"
    if isinstance(given, list):
        return "[" + ", ".join(_literal(item, names) for item in given) + "]"
    if isinstance(given, tuple):
        return "(" + ", ".join(_literal(item, names) for item in given) + ")"
    if isinstance(given, float) and not isfinite(given):
        return f'float("{given}")'
    if isinstance(given, datetime):
        names.update({("datetime", "UTC"), ("datetime", "datetime")})
        at = given.astimezone(UTC) if given.tzinfo else given.replace(tzinfo=UTC)
        parts = (at.year, at.month, at.day, at.hour, at.minute, at.second, at.microsecond)
        return f"datetime({', '.join(map(str, parts))}, tzinfo=UTC)"
    kind = type(given)
    if kind.__module__ != "builtins":
        written = repr(given)
        if written.startswith(f"{kind.__name__}("):  # Int64 is written as the number it equals
            names.add((kind.__module__, kind.__name__))
        return written
    return repr(given)


def _text(given: str) -> str:
    """In double quotes, as formatters like it: JSON's escapes are Python's too."""
    return json.dumps(given, ensure_ascii=False)
