import pickle
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from bson import Regex

from symphonia_perf.errors import ConfigurationError
from symphonia_perf.mongo import Index, IndexRegistry, Query


def test_a_minus_sign_means_descending() -> None:
    assert Index("status", "-createdAt").specification() == {
        "key": {"status": 1, "createdAt": -1},
        "name": "status_1_createdAt_-1",
    }


def test_every_option_arrives_under_the_name_of_the_server() -> None:
    plain = Index(
        "at",
        name="idx",
        unique=True,
        expire_after=timedelta(minutes=1),
        partial={"status": {"$in": ["A", "B"]}},
        collation={"locale": "en"},
        hidden=True,
    )
    assert plain.specification() == {
        "key": {"at": 1},
        "name": "idx",
        "unique": True,
        "hidden": True,
        "expireAfterSeconds": 60,
        "partialFilterExpression": {"status": {"$in": ["A", "B"]}},
        "collation": {"locale": "en"},
    }
    assert Index("a", sparse=True).specification()["sparse"] is True
    assert Index("a", expire_after=0).specification()["expireAfterSeconds"] == 0


@pytest.mark.parametrize(
    ("index", "specification"),
    [
        (Index.geo("p", "-at"), {"key": {"p": "2dsphere", "at": -1}, "name": "p_2dsphere_at_-1"}),
        (Index.hashed("_id"), {"key": {"_id": "hashed"}, "name": "_id_hashed"}),
        (Index("owner.$id"), {"key": {"owner.$id": 1}, "name": "owner.$id_1"}),
        (
            Index(("p", "2d"), "at", name="flat"),
            {"key": {"p": "2d", "at": 1}, "name": "flat", "collation": {"locale": "simple"}},
        ),
        (
            Index.text("a", "b", weights={"b": 5}, language="none", unique=True),
            {
                "key": {"a": "text", "b": "text"},
                "name": "a_text_b_text",
                "unique": True,
                "collation": {"locale": "simple"},
                "weights": {"a": 1, "b": 5},
                "default_language": "none",
                "language_override": "language",
            },
        ),
        (
            Index.flat("p", "-at", bits=20, minimum=-10, maximum=10.5),
            {
                "key": {"p": "2d", "at": -1},
                "name": "p_2d_at_-1",
                "collation": {"locale": "simple"},
                "bits": 20,
                "min": -10,
                "max": 10.5,
            },
        ),
        (
            Index.raw({"name": "x", "key": {"a": 2}, "storageEngine": {"wiredTiger": {}}}),
            {"key": {"a": 2}, "name": "x", "storageEngine": {"wiredTiger": {}}},
        ),
        (Index.wildcard(), {"key": {"$**": 1}, "name": "$**_1"}),
        (Index.wildcard("attributes"), {"key": {"attributes.$**": 1}, "name": "attributes.$**_1"}),
        (
            Index.wildcard(include=["a", "b.c"], name="some"),
            {"key": {"$**": 1}, "name": "some", "wildcardProjection": {"a": 1, "b.c": 1}},
        ),
        (
            Index.wildcard(exclude=["a"], name="most"),
            {"key": {"$**": 1}, "name": "most", "wildcardProjection": {"a": 0}},
        ),
    ],
    ids=lambda value: value.name if isinstance(value, Index) else "",
)
def test_special_kinds(index: Index, specification: dict[str, Any]) -> None:
    assert index.specification() == specification


def test_text_and_2d_state_that_they_have_no_collation() -> None:
    for index in (Index.text("$**"), Index(("p", "2d"))):
        assert index.specification()["collation"] == {"locale": "simple"}


ENDLESS: dict[str, Any] = {}
ENDLESS["again"] = [ENDLESS]

REFUSED: dict[str, tuple[Callable[[], Index], str]] = {
    "no field": (Index, "has no field; write for example"),
    "empty path": (lambda: Index("", name="x"), "Index 'x': the field '' is empty"),
    "only a sign": (lambda: Index("a", "-"), "Index('a', '-'): the field '' is empty"),
    "trailing dot": (lambda: Index("a."), "empty part"),
    "double dot": (lambda: Index("a..b"), "empty part"),
    "dollar": (lambda: Index("$a"), "starts with '$' ('$a')"),
    "inner dollar": (lambda: Index("a.$b"), "starts with '$' ('$b')"),
    "leading DBRef part": (lambda: Index("$id"), "starts with '$'"),
    "NUL": (lambda: Index("a\0b"), "NUL"),
    "bytes": (lambda: Index(b"a"), "is a bytes"),  # type: ignore[arg-type]
    "triple": (lambda: Index(("a", 1, 2)), "expected a pair"),  # type: ignore[arg-type]
    "twice": (lambda: Index("a", "-a"), "'a' is named twice"),
    "33 fields": (lambda: Index(*(f"f{n}" for n in range(33))), "33 fields, MongoDB allows 32"),
    "kind": (lambda: Index(("a", "geo")), "of kind 'geo', allowed are 1, -1, '2d'"),
    "direction 2": (lambda: Index(("a", 2)), "of kind 2"),
    "direction 1.0": (lambda: Index(("a", 1.0)), "of kind 1.0"),  # type: ignore[arg-type]
    "descending geo": (lambda: Index.geo("-a"), "'-a' starts with '-'"),
    "two signs": (lambda: Index("--a"), "'-a' starts with '-'"),
    "direction True": (lambda: Index(("a", True)), "of kind True"),
    "_id": (lambda: Index("-_id"), "an index on _id of its own"),
    "two hashed": (lambda: Index.hashed("a", ("b", "hashed")), "one hashed field"),
    "2d second": (lambda: Index("a", ("p", "2d")), "2d field must come first"),
    "split text": (lambda: Index(("a", "text"), "b", ("c", "text")), "side by side"),
    "descending wildcard": (lambda: Index("-$**"), "is ascending"),
    "two wildcards": (lambda: Index("a.$**", "b.$**"), "has one wildcard"),
    "wildcard below nothing": (lambda: Index(".$**"), "is empty"),
    "empty name": (lambda: Index("a", name=""), "name='': expected text"),
    "NUL in name": (lambda: Index("a", name="x\0"), "without NUL"),
    "name of a number": (lambda: Index("a", name=3), "name=3"),  # type: ignore[arg-type]
    "reserved name": (lambda: Index("a", name="_id_"), "reserved by MongoDB"),
    "unique=1": (lambda: Index("a", unique=1), "unique=1: expected True or"),  # type: ignore[arg-type]
    "hidden='no'": (lambda: Index("a", hidden="no"), "hidden='no'"),  # type: ignore[arg-type]
    "sparse and partial": (
        lambda: Index("a", sparse=True, partial={"a": 1}),
        "sparse and partial exclude each other",
    ),
    "empty partial": (lambda: Index("a", partial={}), "partial={}: expected a filter"),
    "partial list": (lambda: Index("a", partial=[1]), "partial=[1]"),  # type: ignore[arg-type]
    "partial with a number key": (
        lambda: Index("a", partial={"a": {1: 2}}),
        "partial: the key 1 is a int, expected text",
    ),
    "collation name": (
        lambda: Index("a", collation="en"),  # type: ignore[arg-type]
        "collation='en': expected a mapping",
    ),
    "collation without locale": (lambda: Index("a", collation={"strength": 2}), "'locale'"),
    "collation option": (
        lambda: Index("a", collation={"locale": "en", "strenght": 2}),
        "collation has no 'strenght', allowed are locale, caseLevel",
    ),
    "collated text": (lambda: Index.text("a", collation={"locale": "en"}), "takes no collation"),
    "unique hashed": (lambda: Index.hashed("a", unique=True), "cannot be unique"),
    "unique wildcard": (lambda: Index.wildcard(unique=True), "cannot be unique"),
    "sparse wildcard": (lambda: Index.wildcard(sparse=True), "sparse by itself"),
    "expiring compound": (lambda: Index("a", "b", expire_after=5), "on a single field"),
    "expiring wildcard": (lambda: Index.wildcard(expire_after=5), "on a single field"),
    "expiring geo": (lambda: Index.geo("a", expire_after=5), "on a single field"),
    "negative expiry": (
        lambda: Index("a", expire_after=-1),
        "Index('a'): expire_after=-1: expected 0 or more seconds",
    ),
    "fraction of a second": (lambda: Index("a", expire_after=0.5), "expected whole seconds"),
    "expiry in 69 years": (lambda: Index("a", expire_after=2**31), "up to 2147483647"),
    "weight of a stranger": (
        lambda: Index.text("a", weights={"b": 2}),
        "weights['b']=2: expected a whole number from 1 to 99999 for one of 'a'",
    ),
    "weight 0": (lambda: Index.text("a", weights={"a": 0}), "weights['a']=0"),
    "weight True": (lambda: Index.text("a", weights={"a": True}), "weights['a']=True"),
    "wildcard both ways": (
        lambda: Index.wildcard(include=["a"], exclude=["b"]),
        "exclude each other",
    ),
    "wildcard path and list": (lambda: Index.wildcard("a", include=["b"]), "exclude each other"),
    "bits": (lambda: Index.flat("p", bits=0), "bits=0: expected a whole number from 1 to 32"),
    "bits True": (lambda: Index.flat("p", bits=True), "bits=True"),
    "bits 33": (lambda: Index.flat("p", bits=33), "bits=33"),
    "infinite bound": (lambda: Index.flat("p", maximum=float("inf")), "maximum=inf: expected a"),
    "bound of text": (lambda: Index.flat("p", minimum="0"), "minimum='0'"),  # type: ignore[arg-type]
    "bound True": (lambda: Index.flat("p", minimum=True), "minimum=True"),
    "bounds turned": (lambda: Index.flat("p", maximum=-180), "minimum=-180.0 is not below"),
    "raw list": (lambda: Index.raw([1]), "expected a document such as"),  # type: ignore[arg-type]
    "raw without key": (lambda: Index.raw({"name": "x"}), "key=None: expected a document"),
    "raw key": (lambda: Index.raw({"name": "x", "key": {}}), "key={}: expected a document"),
    "raw without name": (lambda: Index.raw({"key": {"a": 1}}), "name=None: expected text"),
    "raw number": (
        lambda: Index.raw({"key": {1: 1}, "name": "x"}),
        "the key 1 is a int, expected text",
    ),
    "wildcard list": (lambda: Index.wildcard(include=["a."]), "'a.' has an empty part"),
    "a list of pairs": (
        lambda: Index([("genre", 1)]),  # type: ignore[arg-type]
        "[('genre', 1)] is a list; give the fields one by one, as in Index('status', ",
    ),
    "a dict": (lambda: Index({"genre": 1}), "is a dict; give the fields one by one"),  # type: ignore[arg-type]
    "a pair without brackets": (
        lambda: Index("genre", -1),  # type: ignore[arg-type]
        "Index('genre', -1): -1 stands alone; a direction belongs to its field",
    ),
    "the server's word": (
        lambda: Index("a", expireAfterSeconds=5),  # type: ignore[arg-type]
        "Index('a'): there is no option 'expireAfterSeconds'; did you mean expire_after?",
    ),
    "a slip": (lambda: Index("a", unqiue=True), "did you mean unique?"),  # type: ignore[arg-type]
    "a slip in another form": (
        lambda: Index.text("a", name="n", wieghts={}),  # type: ignore[call-arg]
        "Index 'n': there is no option 'wieghts'; did you mean weights?",
    ),
    "no option of ours": (
        lambda: Index("a", background=True),  # type: ignore[arg-type]
        "allowed are name, unique, sparse, expire_after, partial, collation, hidden, serves; Index",
    ),
    "half a surrogate pair": (lambda: Index("a\ud800"), "half of a surrogate pair"),
    "half a surrogate pair in a name": (lambda: Index("a", name="\ud800"), "expected text"),
    "wildcard of wildcards": (lambda: Index("$**.$**"), "starts with '$'"),
    "wildcard with its sign": (lambda: Index.wildcard("a.$**"), "starts with '$' ('$**')"),
    "wildcard number": (lambda: Index.wildcard(3), "the field 3 is a int"),  # type: ignore[arg-type]
    "wildcard text": (lambda: Index.wildcard(include="abc"), "include='abc': expected a list"),
    "wildcard exclude number": (lambda: Index.wildcard(exclude=7), "exclude=7: expected a list"),  # type: ignore[arg-type]
    "weights list": (
        lambda: Index.text("a", weights=["a"]),  # type: ignore[arg-type]
        "weights=['a']: expected a mapping such as",
    ),
    "no language": (lambda: Index.text("a", language=None), "language=None: expected text"),  # type: ignore[arg-type]
    "language field": (lambda: Index.text("a", language_field=""), "language_field='': expected"),
    "bound beyond a float": (lambda: Index.flat("p", minimum=-(10**400)), "expected a finite"),
    "NaN bound": (lambda: Index.flat("p", maximum=float("nan")), "maximum=nan: expected a finite"),
    "partial in itself": (lambda: Index("a", partial=ENDLESS), "nested deeper than 200 levels"),
    "partial of 81 bits": (lambda: Index("a", partial={"b": 2**80}), "number of 81 bits, BSON has"),
    "$and of nothing": (lambda: Index("a", partial={"$and": []}), "partial: $and=[]: expected a"),
    "$or of a text": (lambda: Index("a", partial={"$or": "x"}), "$or='x': expected a list of"),
    "$or of numbers": (lambda: Index("a", partial={"$or": [{"$and": [5]}]}), "$and=[5]: expected"),
    "$in of a number": (lambda: Index("a", partial={"b": {"$in": 5}}), "$in expects a list"),
    "collation of nothing": (lambda: Index("a", collation={}), "collation={}: expected a mapping"),
    "$in of a text, deeper": (
        lambda: Index("a", partial={"$or": [{"b": {"$in": "x"}}]}),
        "partial: b={'$in': 'x'}: $in expects a list",
    ),
    "partial $ne": (
        lambda: Index("a", partial={"b": {"$ne": 1}}),
        "partial: b: $ne is not allowed there, allowed are $eq, $exists, $gt",
    ),
    "partial $exists False": (
        lambda: Index("a", partial={"$and": [{"b": {"$exists": False}}]}),
        "partial: b: $exists can only be True there",
    ),
    "partial $nor": (
        lambda: Index("a", partial={"$nor": [{"b": 1}]}),
        "partial: $nor is not allowed in a partial filter",
    ),
    "partial pattern": (
        lambda: Index("a", partial={"b": re.compile("x")}),
        "a regular expression is not allowed there",
    ),
    "partial Regex": (lambda: Index("a", partial={"b": Regex("x")}), "a regular expression is not"),
    "plus sign": (lambda: Index("+a"), "did you mean 'a'?"),
    "descending in words": (
        lambda: Index("a desc"),
        "did you mean '-a'? A field that is really called so is declared as a pair, ('a desc', 1)",
    ),
    "ascending in words": (lambda: Index.geo("p", "a.b ASC"), "did you mean 'a.b'?"),
    "direction behind a colon": (lambda: Index("a:-1"), "did you mean '-a'?"),
    "a sign and a word": (lambda: Index("-a desc"), "did you mean '-a'?"),
    "strength 9": (
        lambda: Index("a", collation={"locale": "en", "strength": 9}),
        "collation: strength=9: expected one of 1, 2, 3, 4, 5",
    ),
    "strength True": (
        lambda: Index("a", collation={"locale": "en", "strength": True}),
        "collation: strength=True",
    ),
    "strength of text": (
        lambda: Index("a", collation={"locale": "en", "strength": "2"}),
        "collation: strength='2'",
    ),
    "caseLevel 1": (
        lambda: Index("a", collation={"locale": "en", "caseLevel": 1}),
        "collation: caseLevel=1: expected one of True, False",
    ),
    "a class for a query": (lambda: Index("a", serves=[Query]), "is not a Query"),  # type: ignore[list-item]
    "raw kind": (lambda: Index.raw({"key": {"a": None}, "name": "x"}), "'a' is of kind None"),
    "raw kind True": (lambda: Index.raw({"key": {"a": True}, "name": "x"}), "of kind True"),
    "raw collation": (
        lambda: Index.raw({"key": {"a": 1}, "name": "x", "collation": "en"}),
        "collation='en': expected a document such as {'locale': 'en'}",
    ),
    "raw locale": (
        lambda: Index.raw({"key": {"a": 1}, "name": "x", "collation": {"strength": 1}}),
        "expected a mapping such as {'locale': 'en'}",
    ),
    "raw filter": (
        lambda: Index.raw({"key": {"a": 1}, "name": "x", "partialFilterExpression": [1]}),
        "partialFilterExpression=[1]: expected a document",
    ),
    "raw $and": (
        lambda: Index.raw({"key": {"a": 1}, "name": "x", "partialFilterExpression": {"$and": 5}}),
        "$and=5: expected a list of filters",
    ),
    "raw expiry": (
        lambda: Index.raw({"key": {"a": 1}, "name": "x", "expireAfterSeconds": "5"}),
        "expireAfterSeconds='5': expected seconds",
    ),
    "raw endless expiry": (
        lambda: Index.raw({"key": {"a": 1}, "name": "x", "expireAfterSeconds": float("inf")}),
        "expireAfterSeconds=inf",
    ),
}


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_what_mongodb_would_refuse_is_refused_by_name(
    make: Callable[[], Index], message: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert message in str(caught.value)
    assert str(caught.value).startswith("Index")


@pytest.mark.parametrize("path", ["+a", "a desc", "a:1"])
def test_a_field_with_an_odd_name_is_declared_as_a_pair(path: str) -> None:
    assert Index((path, 1)).keys == ((path, 1),)


@pytest.mark.parametrize("path", ["a desk", "desc", "asc", "a descending order", "1", "a 1b", "a+"])
def test_names_that_only_look_like_a_direction_are_fields(path: str) -> None:
    assert Index(path).keys == ((path, 1),)


@pytest.mark.parametrize(
    "expression",
    [
        {"a": {"$gt": 1, "$lte": 3}, "b": None, "$comment": "why"},
        {"a": {"$exists": True}, "b": {"c": {"$ne": 1}}},
        {"$or": [{"a": {"$in": [1]}}, {"$and": [{"b": {"$type": "string"}}]}]},
        {"a": {"$ref": "carriers", "$id": 1}},
    ],
)
def test_what_a_partial_filter_can_say(expression: dict[str, Any]) -> None:
    assert Index("z", partial=expression).specification()["partialFilterExpression"] == expression


def test_an_index_is_a_value() -> None:
    partial = {"status": {"$in": ["A"]}}
    index = Index("a", partial=partial)
    assert index == Index("a", partial=partial)
    assert hash(index) == hash(Index("a", partial=partial))
    assert index != Index("a")
    assert pickle.loads(pickle.dumps(index)) == index
    assert repr(Index("-a")) == "Index({'key': {'a': -1}, 'name': 'a_-1'})"
    with pytest.raises(AttributeError):
        index.name = "other"  # type: ignore[misc]


def test_nobody_changes_an_index_from_outside() -> None:
    partial = {"status": {"$in": ["A"]}}
    index = Index("a", partial=partial)
    partial["status"]["$in"].append("B")
    index.specification()["partialFilterExpression"]["status"]["$in"].append("C")
    assert index.specification()["partialFilterExpression"] == {"status": {"$in": ["A"]}}


def test_a_registry_keeps_the_order_of_declaration() -> None:
    registry = IndexRegistry()
    registry.add("b", Index("x"))
    registry.add("a", Index("z"), Index("y"))
    registry.add("b", Index("w"))
    assert {name: [index.name for index in found] for name, found in registry.declared.items()} == {
        "b": ["x_1", "w_1"],
        "a": ["z_1", "y_1"],
    }
    registry.declared.clear()
    assert list(registry.declared) == ["b", "a"]


@pytest.mark.parametrize("name", ["", ".a", "a$b", "a\0b", "a\ud800", None, 3])
def test_a_collection_needs_a_name(name: Any) -> None:
    with pytest.raises(ConfigurationError, match="expected a collection's name"):
        IndexRegistry().add(name, Index("a"))


@pytest.mark.parametrize(
    ("indexes", "message"),
    [
        ((), "c: no index given"),
        (("status",), "c: 'status' is not an Index"),
        (([Index("a")],), "is not an Index; write add('c', *indexes)"),
        ((Index("a"), Index("a", unique=True)), "c: Index 'a_1': is declared already"),
        ((Index("a"), Index("a", name="b")), "c: Index 'b': is the same index as 'a_1'"),
        (
            (Index("a", partial={"x": 1, "y": 2}), Index("a", name="b", partial={"y": 2, "x": 1})),
            "is the same index",
        ),
        ((Index("a"), Index("a", name="b", hidden=True)), "is the same index"),
        ((Index("a"), Index("a", name="b", expire_after=3)), "is the same index"),
        ((Index.text("a", name="x"), Index.text("b")), "second text index beside 'x'"),
        (
            (Index.text("a", name="x"), Index.text("b", partial={"z": 1})),
            "second text index beside 'x'",
        ),
    ],
)
def test_declaring_it_twice_is_refused_and_adds_nothing(indexes: Any, message: str) -> None:
    registry = IndexRegistry()
    with pytest.raises(ConfigurationError) as caught:
        registry.add("c", *indexes)
    assert message in str(caught.value)
    assert registry.declared == {}


def test_what_is_one_index_only_under_some_collation_can_be_declared() -> None:
    registry = IndexRegistry()
    registry.add(
        "c",
        Index("a", name="inherited"),
        Index("a", name="simple", collation={"locale": "simple"}),
        Index("a", name="english", collation={"locale": "en"}),
        Index("a", name="unique", unique=True),
    )
    assert len(registry.declared["c"]) == 4
