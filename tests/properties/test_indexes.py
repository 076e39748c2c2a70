"""Whatever was declared and applied, the second plan finds it as declared."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pymongo import MongoClient
from pymongo.database import Database

from symphonia_perf.errors import ConfigurationError, MongoOperationError
from symphonia_perf.mongo import ExistingIndexes, Index, IndexRegistry
from symphonia_perf.mongo._normalise import normalise
from symphonia_perf.testing.servers import MongoReplicaSet

NAME = "symphonia_test_index_properties"

paths = st.sampled_from(["a", "b", "c.d", "c.e", "_id", "owner.$id", "été", "with space"])
keys = st.lists(st.tuples(paths, st.sampled_from(["", "-"])), min_size=1, max_size=4).map(
    lambda pairs: [sign + path for path, sign in dict(pairs).items()]
)
scalars = (
    st.integers(-(2**40), 2**40)
    | st.floats(allow_nan=False)
    | st.booleans()
    | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5)
    | st.none()
)
conditions = st.one_of(
    scalars,
    st.builds(lambda value: {"$gt": value}, st.integers(0, 9)),
    st.builds(lambda low, high: {"$gte": low, "$lt": high}, st.integers(0, 9), st.floats(10, 20)),
    st.builds(lambda values: {"$in": values}, st.lists(st.integers(0, 3), min_size=1, max_size=4)),
    st.just({"$exists": True}),
    st.just({"$type": "string"}),
)
simple = st.dictionaries(st.sampled_from("xyz"), conditions, min_size=1, max_size=3)
filters = st.one_of(
    simple,
    st.lists(simple, min_size=1, max_size=3).map(lambda branches: {"$and": branches}),
    st.lists(simple, min_size=1, max_size=3).map(lambda branches: {"$or": branches}),
)
collations = st.fixed_dictionaries(
    {"locale": st.sampled_from(["en", "fr_CA", "th", "da", "hi", "simple", "de@collation=search"])},
    optional={
        "strength": st.integers(1, 5),
        "numericOrdering": st.booleans(),
        "caseFirst": st.sampled_from(["upper", "lower", "off"]),
        "alternate": st.sampled_from(["shifted", "non-ignorable"]),
    },
)
names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
shared: dict[str, st.SearchStrategy[Any]] = {
    "name": names,
    "hidden": st.booleans(),
    "partial": filters,
}
plain_options = st.fixed_dictionaries(
    {},
    optional={
        **shared,
        "unique": st.booleans(),
        "sparse": st.booleans(),
        "collation": collations,
        "expire_after": st.integers(0, 2**31 - 1),
    },
)
special_options = st.fixed_dictionaries({}, optional=shared)
weights = st.dictionaries(st.sampled_from("xyz"), st.integers(1, 99_999))


def attempt(make: Any, *args: Any, **options: Any) -> Index | None:
    """The index, or None for a combination that cannot be declared."""
    try:
        index: Index = make(*args, **options)
    except ConfigurationError:
        return None
    return index


indexes = st.one_of(
    st.builds(lambda fields, options: attempt(Index, *fields, **options), keys, plain_options),
    st.builds(lambda options: attempt(Index.geo, "p", "-a", **options), special_options),
    st.builds(lambda path, options: attempt(Index.hashed, path, **options), paths, special_options),
    st.builds(
        lambda fields, chosen, language, options: attempt(
            Index.text, *fields, weights=chosen, language=language, **options
        ),
        st.lists(st.sampled_from("xyz"), min_size=1, max_size=3, unique=True),
        weights,
        st.sampled_from(["english", "none", "french"]),
        special_options,
    ),
    st.builds(
        lambda fields, way, options: attempt(Index.wildcard, **{way: fields}, **options),
        st.lists(st.sampled_from(["x", "y.z"]), unique=True),
        st.sampled_from(["include", "exclude"]),
        special_options,
    ),
    st.builds(lambda options: attempt(Index, ("q", "2d"), "a", **options), special_options),
).filter(lambda index: index is not None)


def registry_of(declared: list[Index]) -> IndexRegistry:
    registry = IndexRegistry()
    for index in declared:
        try:
            registry.add("c", index)
        except ConfigurationError:
            continue  # a repetition
    return registry


@given(st.lists(indexes, min_size=1, max_size=6))
def test_what_was_declared_is_kept_when_listed_as_declared(declared: list[Index]) -> None:
    registry = registry_of(declared)
    created = registry.diff({}).creates()["c"]
    assert not registry.diff({"c": ExistingIndexes(indexes=created)})


@given(simple, simple, st.randoms(use_true_random=False))
def test_and_and_order_are_no_difference(first: Any, second: Any, random: Any) -> None:
    def form(expression: Any) -> object:
        return normalise({"key": {"k": 1}, "name": "n", "partialFilterExpression": expression})

    branches = [first, second]
    shuffled = [dict(random.sample(list(part.items()), len(part))) for part in branches]
    random.shuffle(shuffled)
    assert form({"$and": branches}) == form({"$and": shuffled})
    assert form({"$or": branches}) == form({"$or": shuffled})
    if not first.keys() & second.keys():
        assert form({"$and": branches}) == form({**first, **second})


@pytest.fixture(scope="module")
def db(mongo_server: MongoReplicaSet) -> Iterator[Database[dict[str, Any]]]:
    with MongoClient[dict[str, Any]](mongo_server.uri) as client:
        yield client[NAME]
        client.drop_database(NAME)


@pytest.mark.mongo
@settings(max_examples=25)
@given(
    declared=st.lists(indexes, min_size=1, max_size=6),
    collation=st.sampled_from([None, {"locale": "en", "strength": 2}, {"locale": "th"}]),
)
def test_the_second_apply_writes_nothing(
    db: Database[dict[str, Any]], declared: list[Index], collation: dict[str, Any] | None
) -> None:
    db.drop_collection("c")
    db.create_collection("c", collation=collation)
    registry = registry_of(declared)
    first = registry.plan_sync(db)
    if first.conflicts:  # one index under this collation, declared twice
        return
    try:
        first.apply_sync(db)
    except MongoOperationError as error:
        assert error.code == 2  # noqa: PT017 - a collation that contradicts itself
        return
    second = registry.plan_sync(db)
    assert second.is_empty, second.describe()
    assert len(second.kept) == len(registry.declared["c"])
    assert not second.unmanaged

    names: dict[str, Any] = {}
    source = IndexRegistry.export_sync(db, collections=["c"])
    exec(source, names)
    exported = names["indexes"].plan_sync(db)
    assert exported.is_empty, f"{source}\n{exported.describe()}"
    assert not exported.unmanaged


@pytest.mark.mongo
@settings(max_examples=40)
@given(existing=indexes, declared=indexes, same_key=st.booleans())
def test_the_plan_knows_what_the_server_would_say(
    db: Database[dict[str, Any]], existing: Index, declared: Index, *, same_key: bool
) -> None:
    db.drop_collection("c")
    first = {**existing.specification(), "name": "n"}
    second = {**declared.specification(), "name": "n"}
    if same_key:
        second = {**second, "key": first["key"]}
    assume("Error" not in created(db, first))
    registry = IndexRegistry()
    registry.add("c", Index.raw(second))
    plan = registry.plan_sync(db)
    said = created(db, second)
    if plan.kept:
        assert said == "same"
    elif plan.conflicts:
        assert said == f"Error {plan.conflicts[0].code}" or said in UNMAKEABLE
    elif said not in UNMAKEABLE:
        assert said in {"same", "Error 85", "Error 86"}  # `hidden` is ignored silently
        try:
            plan.apply_sync(db)
        except MongoOperationError as error:
            assert error.code == 72  # noqa: PT017 - such a key takes no expiry or is never unique
        else:
            assert registry.plan_sync(db).is_empty


# What no server would build whatever is there: a key and options that do not go together.
UNMAKEABLE = {"Error 2", "Error 67", "Error 16764", "Error 197", "Error 27"}


def created(db: Database[dict[str, Any]], specification: dict[str, Any]) -> str:
    answer = db.command("createIndexes", "c", indexes=[specification], check=False)
    if not answer["ok"]:
        return f"Error {answer['code']}"
    return "same" if answer["numIndexesBefore"] == answer["numIndexesAfter"] else "new"
