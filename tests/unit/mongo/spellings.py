"""Pairs of index specifications, and what MongoDB 6.0.5 says to the second after the first.

`same`: all indexes already exist; `ignored`: it says so too, but the difference is not applied;
`second`: another index is built; a number: the code of its error. The unit tests hold the registry
against this table, the integration tests hold the table against a server.
"""

from typing import Any

from bson import Decimal128, Int64

Specification = dict[str, Any]


def _index(key: dict[str, Any] | None = None, name: str = "n", **options: Any) -> Specification:
    return {"key": key or {"k": 1}, "name": name, **options}


def _partial(expression: dict[str, Any]) -> Specification:
    return _index(partialFilterExpression=expression)


def _wildcard(projection: dict[str, Any]) -> Specification:
    return _index({"$**": 1}, wildcardProjection=projection)


def _collated(**collation: Any) -> Specification:
    return _index(collation=collation)


_PLAIN = _index()
_TEXT = _index({"a": "text", "b": "text"})
_TTL = _index(expireAfterSeconds=5)

# What createIndexes refuses or ignores, and collMod can do (MongoDB 6.0).
BY_COLLMOD = {
    "hide",
    "unhide",
    "unique",
    "prepared",
    "prepared, then unique",
    "longer expiry",
    "expiry added",
}

PAIRS: dict[str, tuple[Specification, Specification, str | int]] = {
    # keys
    "float direction": (_index({"k": 1.0}), _PLAIN, "same"),
    "direction 2": (_index({"k": 2}), _PLAIN, 86),
    "direction 1.5": (_PLAIN, _index({"k": 1.5}), 86),
    "another key": (_PLAIN, _index({"j": 1}), 86),
    "order of fields": (_index({"a": 1, "b": 1}), _index({"b": 1, "a": 1}), 86),
    "another name": (_PLAIN, _index(name="m"), 85),
    "another key and name": (_PLAIN, _index({"j": 1}, "m"), "second"),
    # flags
    "flags that are false": (
        _index(sparse=False, unique=False),
        _index(hidden=False, background=True),
        "same",
    ),
    "unique": (_PLAIN, _index(unique=True), 86),
    "unique, another name": (_PLAIN, _index(name="m", unique=True), "second"),
    "sparse": (_index(sparse=True), _PLAIN, 86),
    "sparse, another name": (_PLAIN, _index(name="m", sparse=True), "second"),
    "hide": (_PLAIN, _index(hidden=True), "ignored"),
    "unhide": (_index(hidden=True), _PLAIN, "ignored"),
    "hide, another name": (_PLAIN, _index(name="m", hidden=True), 85),
    "storage engine": (
        _index(storageEngine={"wiredTiger": {"configString": "block_compressor=zlib"}}),
        _PLAIN,
        85,
    ),
    "prepared": (_index(prepareUnique=True), _PLAIN, 85),
    "prepared, then unique": (_index(prepareUnique=True), _index(unique=True), 86),
    # expiry
    "same expiry": (_index(expireAfterSeconds=5.0), _TTL, "same"),
    "never": (
        _index(expireAfterSeconds=float("nan")),
        _index(expireAfterSeconds=2147483647),
        "same",
    ),
    "longer expiry": (_TTL, _index(expireAfterSeconds=6), 85),
    "expiry removed": (_TTL, _PLAIN, 85),
    "expiry added": (_PLAIN, _TTL, 85),
    "expiry added, another name": (_PLAIN, _index(name="m", expireAfterSeconds=6), 85),
    # partial
    "partial added": (_PLAIN, _partial({"a": 1}), 86),
    "order of conditions": (_partial({"a": 1, "b": 2}), _partial({"b": 2, "a": 1}), "same"),
    "$and": (
        _partial({"$and": [{"$and": [{"a": 1}, {"b": 2}]}, {"c": 3}]}),
        _partial({"c": 3, "b": 2, "a": 1}),
        "same",
    ),
    "$and splits a range": (
        _partial({"a": {"$gt": 1, "$lt": 5}}),
        _partial({"$and": [{"a": {"$lt": 5}}, {"a": {"$gt": 1}}]}),
        "same",
    ),
    "$eq": (_partial({"a": {"$eq": 1}}), _partial({"a": 1}), "same"),
    "a condition twice": (_partial({"$and": [{"a": 1}, {"a": 1}]}), _partial({"a": 1}), 86),
    "order of $or": (
        _partial({"$or": [{"a": 1, "b": 2}, {"c": 1}]}),
        _partial({"$or": [{"c": 1}, {"b": 2, "a": 1}]}),
        "same",
    ),
    "another branch of $or": (
        _partial({"$or": [{"a": 1}, {"b": 1}]}),
        _partial({"$or": [{"a": 1}, {"c": 1}]}),
        86,
    ),
    "$or of one": (_partial({"$or": [{"a": 1}]}), _partial({"a": 1}), "same"),
    "order of $in": (_partial({"a": {"$in": [1, 2]}}), _partial({"a": {"$in": [2, 1, 1]}}), "same"),
    "$in of one": (_partial({"a": {"$in": [1]}}), _partial({"a": 1}), "same"),
    "$exists": (_partial({"a": {"$exists": True}}), _partial({"a": {"$exists": 1}}), "same"),
    "number types": (_partial({"a": 5}), _partial({"a": 5.0}), "same"),
    "Int64": (_partial({"a": 5}), _partial({"a": Int64(5)}), "same"),
    "Decimal128": (_partial({"a": 5}), _partial({"a": Decimal128("5.0")}), "same"),
    "a number is not a boolean": (_partial({"a": 1}), _partial({"a": True}), 86),
    "a number is not a text": (_partial({"a": 1}), _partial({"a": "1"}), 86),
    "infinity": (_partial({"a": float("inf")}), _partial({"a": Decimal128("Infinity")}), "same"),
    "a document's order": (
        _partial({"a": {"x": 1, "y": [2]}}),
        _partial({"a": {"y": [2], "x": 1}}),
        86,
    ),
    # collation
    "collation defaults": (_collated(locale="en"), _collated(locale="en", strength=3.0), "same"),
    "strength": (_collated(locale="en"), _collated(locale="en", strength=2), 86),
    "simple": (_PLAIN, _collated(locale="simple"), "same"),
    "Danish": (_collated(locale="da"), _collated(locale="da", caseFirst="upper"), "same"),
    "Canadian French": (
        _collated(locale="fr_CA"),
        _collated(locale="fr_CA", backwards=True),
        "same",
    ),
    "Thai": (
        _collated(locale="th"),
        _collated(locale="th", alternate="shifted", normalization=True),
        "same",
    ),
    "Hindi": (_collated(locale="hi"), _collated(locale="hi", normalization=True), "same"),
    "search": (
        _collated(locale="th@collation=search"),
        _collated(locale="th@collation=search", normalization=True, alternate="non-ignorable"),
        "same",
    ),
    "traditional": (
        _collated(locale="bn@collation=traditional"),
        _collated(locale="bn@collation=traditional", normalization=True),
        "same",
    ),
    "European ordering": (
        _collated(locale="da@collation=eor"),
        _collated(locale="da@collation=eor", caseFirst="off", normalization=False),
        "same",
    ),
    # text
    "order of text fields": (_TEXT, _index({"b": "text", "a": "text"}), "same"),
    "text as listed": (
        _TEXT,
        _index({"_fts": "text", "_ftsx": 1}, weights={"b": 1, "a": 1}, textIndexVersion=3),
        "same",
    ),
    "text defaults": (
        _TEXT,
        {**_TEXT, "default_language": "english", "language_override": "language"},
        "same",
    ),
    "text and simple": (_TEXT, {**_TEXT, "collation": {"locale": "simple"}}, "same"),
    "a field by its weight": (_TEXT, _index({"a": "text"}, weights={"b": 1}), "same"),
    "weights": (_TEXT, {**_TEXT, "weights": {"a": 5}}, 85),
    "language": (_TEXT, {**_TEXT, "default_language": "none"}, 85),
    "second text index": (_TEXT, _index({"z": "text"}, "m"), 85),
    "second text index, partial": (
        _TEXT,
        _index({"z": "text"}, "m", partialFilterExpression={"a": 1}),
        67,
    ),
    "compound text": (
        _index({"p": 1, "a": "text", "q": -1}),
        _index({"p": -1, "a": "text", "q": -1}),
        86,
    ),
    "all text": (
        _index({"$**": "text"}),
        _index({"$**": "text"}, default_language="english"),
        "same",
    ),
    # geo, hashed, wildcard
    "2d bounds": (
        _index({"p": "2d"}, min=-10, max=10, bits=20),
        _index({"p": "2d"}, min=-10.0, max=10.0, bits=20),
        "same",
    ),
    "2d defaults count": (_index({"p": "2d"}), _index({"p": "2d"}, bits=26), 85),
    "2dsphere": (_index({"p": "2dsphere"}), _index({"p": "2dsphere"}), "same"),
    "hashed": (_index({"k": "hashed"}), _PLAIN, 86),
    "wildcard flags": (_wildcard({"a": 1}), _wildcard({"a": True, "_id": 0}), "same"),
    "wildcard order": (_wildcard({"a": 1, "b": 2}), _wildcard({"b": 1, "a": 1}), "same"),
    "wildcard nesting": (_wildcard({"a.b": 1}), _wildcard({"a": {"b": 1}}), "same"),
    "wildcard exclusion": (_wildcard({"a": 0}), _wildcard({"a": 1}), 86),
}
