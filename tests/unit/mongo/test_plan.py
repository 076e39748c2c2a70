from typing import Any

import pytest

from symphonia_perf.errors import ConfigurationError, IndexConflict, MongoOperationError
from symphonia_perf.mongo import (
    CreateIndex,
    ExistingIndexes,
    Index,
    IndexPlan,
    IndexRegistry,
    KeptIndex,
    UnmanagedIndex,
)

ID = {"v": 2, "key": {"_id": 1}, "name": "_id_"}
# No database is asked when there is a conflict.
untouchable: Any = None
ENGLISH = {"locale": "en", "strength": 2}


def plan(*declared: Index, existing: Any = (), collation: Any = None) -> IndexPlan:
    registry = IndexRegistry()
    registry.add("c", *declared)
    return registry.diff({"c": ExistingIndexes(indexes=existing, collation=collation)})


def listed(*indexes: Index) -> list[dict[str, Any]]:
    return [ID, *({"v": 2, **index.specification()} for index in indexes)]


def test_what_is_missing_is_created() -> None:
    index = Index("a")
    create = CreateIndex(collection="c", specification=index.specification())
    assert plan(index) == IndexPlan(changes=(create,))
    assert plan(index, existing=[ID]) == IndexPlan(changes=(create,))
    assert plan(index).creates() == {"c": [index.specification()]}


def test_what_exists_as_declared_is_kept() -> None:
    index = Index("a", "-b", unique=True)
    found = plan(index, existing=listed(index))
    assert found == IndexPlan(
        kept=(KeptIndex(collection="c", specification=index.specification()),)
    )
    assert found.is_empty
    assert not found


def test_what_nobody_declared_is_unmanaged() -> None:
    foreign = Index("z").specification()
    found = plan(Index("a"), existing=[ID, *listed(Index("a"))[1:], foreign])
    assert found.unmanaged == (UnmanagedIndex(collection="c", specification=foreign),)
    assert found.is_empty


def test_a_collection_that_is_not_there_is_warned_of_once() -> None:
    registry = IndexRegistry()
    registry.add("c", Index("a"), Index("b"))
    registry.retire("other", "x_1")
    absent = ExistingIndexes(absent="makes a new collection: there is no 'c' yet")
    plan = registry.diff({"c": absent, "other": absent})
    (warning,) = plan.warnings
    assert plan.describe().splitlines()[2] == (
        "warning: c: a_1 makes a new collection: there is no 'c' yet"
    )
    assert (warning.collection, warning.name) == ("c", "a_1")


def test_a_clustered_collection_has_its_id_index_under_any_name() -> None:
    clustered = {"v": 2, "key": {"_id": 1}, "name": "by_id", "unique": True, "clustered": True}
    assert not plan(Index("a"), existing=[clustered]).unmanaged


def test_collections_that_were_not_declared_are_left_out() -> None:
    assert IndexRegistry().diff({"c": ExistingIndexes(indexes=listed(Index("a")))}) == IndexPlan()


@pytest.mark.parametrize(
    ("declared", "existing", "code", "reason"),
    [
        (
            Index("a", name="n"),
            Index("b", name="n"),
            86,
            "exists with key {b: 1} instead of {a: 1}: declare the new index under a new name",
        ),
        (
            Index("a"),
            Index("a", unique=True),
            86,
            "exists with unique true instead of unset: declare the new index under a new name",
        ),
        (
            Index("a", name="n"),
            Index("a", name="m"),
            85,
            "exists under the name 'm': declare it by that name",
        ),
        (
            Index("a", name="n", hidden=True),
            Index("a", name="m"),
            85,
            "exists under the name 'm' with hidden unset instead of true: declare it by that name",
        ),
        (
            Index.text("a", name="n", language="none"),
            Index.text("a", name="n"),
            85,
            (
                "exists with default_language 'english' instead of 'none': "
                "only dropping and building it again changes that"
            ),
        ),
        (
            Index.text("b", name="n", partial={"x": 1}),
            Index.text("a", name="m"),
            67,
            "is a second text index beside 'm': MongoDB allows one",
        ),
    ],
)
def test_a_conflict_has_a_reason_and_a_code(
    declared: Index, existing: Index, code: int | None, reason: str
) -> None:
    found = plan(declared, existing=listed(existing))
    (clash,) = found.conflicts
    assert (clash.code, clash.reason) == (code, reason)
    assert clash.declared == declared.specification()
    assert (clash.existing or {})["name"] == existing.name
    assert not found.changes
    assert not found.unmanaged
    assert found
    with pytest.raises(IndexConflict) as caught:
        found.apply_sync(untouchable)
    hint = " (or allow_gap=True, --allow-gap)" if declared.name == existing.name else ""
    assert str(caught.value) == f"c: {declared.name} {reason}{hint}"
    assert clash.gap == bool(hint)
    assert (caught.value.code, caught.value.operation) == (code, "createIndexes c")
    names = {85: "IndexOptionsConflict", 86: "IndexKeySpecsConflict", 67: "CannotCreateIndex"}
    assert caught.value.code_name == (names[code] if code else None)
    assert caught.value.declared == declared.specification()
    assert caught.value.existing["name"] == existing.name


def test_all_conflicts_are_told_at_once() -> None:
    found = plan(
        Index("a", sparse=True), Index("b", sparse=True), existing=listed(Index("a"), Index("b"))
    )
    with pytest.raises(MongoOperationError, match=r"c: a_1 exists .*; c: b_1 exists "):
        found.apply_sync(untouchable)


async def test_an_empty_plan_asks_no_database() -> None:
    kept = plan(Index("a"), existing=listed(Index("a")))
    kept.apply_sync(untouchable)
    await kept.apply(untouchable)
    assert kept.creates() == {}


async def test_nothing_is_written_when_there_is_a_conflict() -> None:
    found = plan(Index("new"), Index("a", sparse=True), existing=listed(Index("a")))
    with pytest.raises(IndexConflict):
        found.apply_sync(untouchable)
    with pytest.raises(IndexConflict):
        await found.apply(untouchable)


def test_the_collection_gives_its_collation_to_what_names_none() -> None:
    index, simple = Index("a"), Index("a", name="s", collation={"locale": "simple"})
    english = {**index.specification(), "collation": {**ENGLISH, "version": "57.1"}}
    found = plan(
        index, simple, existing=[english, {"key": {"a": 1}, "name": "s"}], collation=ENGLISH
    )
    assert len(found.kept) == 2
    assert plan(index, existing=[english]).conflicts


def test_two_declarations_can_be_one_index_under_the_collations_collection() -> None:
    found = plan(Index("a"), Index("a", name="english", collation=ENGLISH), collation=ENGLISH)
    (create,) = found.changes
    assert create.specification["name"] == "a_1"
    (clash,) = found.conflicts
    assert clash.reason == "exists under the name 'a_1': declare it by that name"


@pytest.mark.parametrize(
    ("shorter", "longer"),
    [
        (Index("a"), Index("a", "b")),
        (Index("-a"), Index("a", "-b")),
        (Index("a", "-b"), Index("-a", "b", "c")),
        (Index("a"), Index("a", "b", unique=True)),
        (Index("a", partial={"x": 1}), Index("a", "b", partial={"x": 1})),
        (Index("a", collation=ENGLISH), Index("a", "b", collation=ENGLISH)),
    ],
)
def test_a_redundant_prefix_is_warned_of(shorter: Index, longer: Index) -> None:
    (warning,) = plan(longer, shorter).warnings
    assert (warning.collection, warning.name) == ("c", shorter.name)
    assert f"is a prefix of {longer.name!r}" in warning.reason


@pytest.mark.parametrize(
    ("shorter", "longer"),
    [
        (Index("b"), Index("a", "b")),
        (Index("a", "b"), Index("a", "-b", "c")),
        (Index("a", unique=True), Index("a", "b")),
        (Index("a", unique=True), Index("a", "b", unique=True)),
        (Index("a", sparse=True), Index("a", "b", sparse=True)),
        (Index("a", hidden=True), Index("a", "b", hidden=True)),
        (Index("a", expire_after=5), Index("a", "b")),
        (Index("a"), Index("a", "b", partial={"x": 1})),
        (Index("a"), Index("a", "b", collation=ENGLISH)),
        (Index("a"), Index("a", ("p", "2dsphere"))),
        (Index("a"), Index("a", "x.$**")),
        (Index("a", "b"), Index("b", "a")),
    ],
)
def test_what_only_looks_like_a_redundant_prefix(shorter: Index, longer: Index) -> None:
    assert not plan(longer, shorter).warnings


def test_a_second_index_on_the_same_key_is_warned_of() -> None:
    found = plan(Index("a", name="new", unique=True), existing=listed(Index("a", name="old")))
    (warning,) = found.warnings
    assert warning.name == "new"
    assert "has the key of the undeclared 'old'" in warning.reason
    assert len(found.changes) == len(found.unmanaged) == 1


def test_no_twin_where_there_is_a_conflict_a_declaration_or_another_key() -> None:
    assert not plan(Index("a", name="n"), existing=listed(Index("a", name="m"))).warnings
    assert not plan(Index("a", name="n"), existing=listed(Index("b", name="m"))).warnings
    both = (Index("a"), Index("a", name="u", unique=True))
    assert not plan(*both, existing=listed(*both)).warnings
    text = Index.text("a", name="t", partial={"x": 1})
    assert not plan(text, existing=listed(Index.text("a"))).warnings


def test_the_description_reads_like_a_diff() -> None:
    found = plan(
        Index("a", name="short"),
        Index("a", "-b", name="long", partial={"s": {"$in": ["X"]}, "ok": True, "n": None}),
        Index("a", "b", name="kept"),
        Index("d", unique=True),
        Index.text("t"),
        existing=listed(
            Index("a", "b", name="kept"), Index("d", sparse=True), Index.geo("p", name="foreign")
        ),
    )
    assert found.describe().splitlines() == [
        "+ c: short {a: 1}",
        "+ c: long {a: 1, b: -1} partialFilterExpression={s: {$in: ['X']}, ok: true, n: unset}",
        (
            "+ c: t_text {t: 'text'} weights={t: 1} default_language='english' "
            "language_override='language'"
        ),
        "= c: kept {a: 1, b: 1}",
        (
            "! c: d_1 exists with unique unset instead of true, sparse true instead of unset: "
            "declare the new index under a new name (or allow_gap=True, --allow-gap)"
        ),
        "? c: foreign {p: '2dsphere'}",
        "warning: c: short is a prefix of 'kept': it costs writes and memory for nothing",
        "3 to create, 1 kept, 1 in conflict, 1 unmanaged",
    ]


def test_every_kind_of_change_has_its_line() -> None:
    registry = IndexRegistry()
    registry.add("c", Index("new"), Index("building"), Index("at", expire_after=60))
    for name in ("used", "watched", "due"):
        registry.retire("c", name, observe=3600)
    existing = [
        *listed(Index("building"), Index("at"), Index("u", name="used")),
        *(Index(name, name=name, hidden=True).specification() for name in ("watched", "due")),
    ]
    found = registry.diff(
        {
            "c": ExistingIndexes(
                indexes=existing,
                building=["building_1"],
                hidden_for={"watched": 60, "due": 7200},
            )
        }
    )
    assert found.describe().splitlines() == [
        "+ c: new_1 {new: 1}",
        "+ c: building_1 {building: 1} (being built)",
        "~ c: at_1 expireAfterSeconds unset -> 60",
        "~ c: used {u: 1} is retired: hide it, drop it after 1 h",
        "- c: due {due: 1} hidden=true was hidden for 2 h: drop it",
        ". c: watched {watched: 1} hidden=true has been hidden for 1 min, to be dropped after 1 h",
        (
            "2 to create, 1 to modify, 1 to hide, 1 to drop, 0 kept, 1 retiring, 0 in conflict, "
            "0 unmanaged"
        ),
    ]
    assert [change.name for change in found.changes] == [
        "new_1",
        "building_1",
        "at_1",
        "used",
        "due",
    ]


def test_a_limit_is_checked_before_a_database_is_asked() -> None:
    with pytest.raises(ConfigurationError, match="timeout=0: expected more than 0 seconds"):
        plan(Index("a")).apply_sync(untouchable, timeout=0)
