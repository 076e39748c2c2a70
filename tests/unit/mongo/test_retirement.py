"""Retiring indexes, changing them in place, servers that are too old: decided without one."""

from datetime import timedelta
from typing import Any

import pytest

from symphonia_perf.errors import ConfigurationError, IndexConflict
from symphonia_perf.mongo import (
    CreateIndex,
    DropIndex,
    ExistingIndexes,
    HideIndex,
    Index,
    IndexPlan,
    IndexRegistry,
    ModifyIndex,
    RetiringIndex,
)
from symphonia_perf.mongo._texts import age

untouchable: Any = None
OLD = Index("a", name="old").specification()
DAY = 86_400.0


def retired(
    *declared: Index, existing: Any = (OLD,), observe: Any = timedelta(days=7), **known: Any
) -> IndexPlan:
    registry = IndexRegistry()
    if declared:
        registry.add("c", *declared)
    registry.retire("c", "old", observe=observe)
    return registry.diff({"c": ExistingIndexes(indexes=existing, **known)})


def test_a_retired_index_is_hidden_observed_and_dropped() -> None:
    hidden = {**OLD, "hidden": True}
    assert retired().changes == (HideIndex(collection="c", specification=OLD, observe=7 * DAY),)
    assert retired(existing=(hidden,)).changes == (
        HideIndex(collection="c", specification=hidden, observe=7 * DAY),
    )
    watched = retired(existing=(hidden,), hidden_for={"old": 7 * DAY - 1})
    assert watched.retiring == (
        RetiringIndex(
            collection="c", specification=hidden, hidden_for=7 * DAY - 1, observe=7 * DAY
        ),
    )
    assert watched.is_empty
    due = retired(existing=(hidden,), hidden_for={"old": 7 * DAY})
    assert due.changes == (DropIndex(collection="c", specification=hidden, hidden_for=7 * DAY),)
    assert due
    assert retired(existing=()) == IndexPlan()
    assert [change.name for change in (*retired().changes, *due.changes)] == ["old", "old"]


def test_a_drop_waits_for_permission() -> None:
    due = retired(existing=({**OLD, "hidden": True},), hidden_for={"old": 7 * DAY})
    due.apply_sync(untouchable)  # no permission: no database is asked


def test_an_index_that_somebody_unhid_is_left_alone() -> None:
    plan = retired(hidden_for={"old": 3.0})
    assert plan.is_empty
    assert "delete its record to hide it once more" in plan.warnings[0].reason


def test_the_new_one_comes_before_the_old_one_goes() -> None:
    plan = retired(Index("a", "b", name="new"))
    assert [type(change) for change in plan.changes] == [CreateIndex, HideIndex]
    assert not plan.warnings  # the old one is no prefix that anybody keeps
    assert not plan.unmanaged


def test_what_stands_in_the_way_of_its_heir_is_not_hidden() -> None:
    plan = retired(Index("a", name="new", hidden=True))
    (clash,) = plan.conflicts
    assert clash.gap  # it was retired, so it may be dropped where a gap is allowed
    assert not plan.changes


def test_retiring_is_checked() -> None:
    registry = IndexRegistry()
    registry.add("c", Index("a"))
    for name in ("", "_id_", "*", 3):
        with pytest.raises(ConfigurationError, match="c: retire: name="):
            registry.retire("c", name)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="'a_1' is declared, so it cannot be retired"):
        registry.retire("c", "a_1")
    with pytest.raises(ConfigurationError, match=r"retire\('x'\): observe=-1"):
        registry.retire("c", "x", observe=-1)
    with pytest.raises(ConfigurationError, match="expected a collection's name"):
        registry.retire("$", "x")
    registry.retire("c", "x", observe=5)
    registry.retire("d", "y")
    with pytest.raises(ConfigurationError, match="'x': is retired; a new index needs a new name"):
        registry.add("c", Index("b", name="x"))
    assert registry.retired == {"c": {"x": 5.0}, "d": {"y": 7 * DAY}}
    assert registry.collections == ("c", "d")
    with pytest.raises(ConfigurationError, match="expected a collection's name"):
        IndexRegistry(records="")


def one(declared: Index, existing: Index | dict[str, Any], **known: Any) -> IndexPlan:
    registry = IndexRegistry()
    registry.add("c", declared)
    listed = existing.specification() if isinstance(existing, Index) else existing
    server = known.pop("server", None)
    return registry.diff({"c": ExistingIndexes(indexes=[listed], **known)}, server=server)


@pytest.mark.parametrize(
    ("declared", "existing", "options"),
    [
        (Index("a", expire_after=60), Index("a", expire_after=30), {"expireAfterSeconds": 60}),
        (Index("a", expire_after=60), Index("a"), {"expireAfterSeconds": 60}),
        (Index("a", hidden=True), Index("a"), {"hidden": True}),
        (Index("a"), Index("a", hidden=True), {"hidden": False}),
        (Index("a", unique=True), Index("a"), {"unique": True}),
        (
            Index("a", unique=True, hidden=True, expire_after=1),
            Index("a"),
            {"expireAfterSeconds": 1, "hidden": True, "unique": True},
        ),
        (
            Index("a"),
            Index.raw({**OLD, "name": "a_1", "prepareUnique": True}),
            {"prepareUnique": False},
        ),
        (
            Index("a", unique=True),
            Index.raw({**OLD, "name": "a_1", "prepareUnique": True}),
            {"unique": True},
        ),
    ],
)
def test_what_collmod_can_do_is_no_conflict(
    declared: Index, existing: Index, options: dict[str, Any]
) -> None:
    plan = one(declared, existing)
    (change,) = plan.changes
    assert isinstance(change, ModifyIndex)
    assert change.options == options
    assert change.name == "a_1"
    assert change.existing == existing.specification()
    assert not plan.conflicts


@pytest.mark.parametrize(
    ("declared", "existing"),
    [
        (Index("a"), Index("a", expire_after=30)),
        (Index("a"), Index("a", unique=True)),
        (Index("a", hidden=True), Index("a", sparse=True)),
        (Index("a", hidden=True, name="n"), Index("b", name="n")),
        (Index("a", hidden=True, name="n"), Index("a", name="m")),
    ],
)
def test_what_collmod_cannot_do_is_a_conflict(declared: Index, existing: Index) -> None:
    assert one(declared, existing).conflicts


def test_collmod_must_not_make_one_index_twice() -> None:
    registry = IndexRegistry()
    registry.add("c", Index("a", unique=True))
    both = [Index("a").specification(), Index("a", unique=True, name="u").specification()]
    (clash,) = registry.diff({"c": ExistingIndexes(indexes=both)}).conflicts
    assert not clash.gap


def test_an_index_that_is_being_built_is_waited_for() -> None:
    plan = one(Index("a"), Index("a"), building=["a_1"])
    assert plan.changes == (
        CreateIndex(collection="c", specification=Index("a").specification(), building=True),
    )
    clash = one(Index("a", hidden=True), Index("a"), building=["a_1"]).conflicts[0]
    assert not clash.gap


@pytest.mark.parametrize(
    ("server", "declared", "existing", "feature"),
    [
        ((4, 2), Index("a", hidden=True), None, "hidden indexes, which MongoDB 4.4 brought"),
        ((4, 2), Index("a"), Index("a", hidden=True), "hidden indexes, which MongoDB 4.4"),
        ((6, 0), Index("b", "a.$**"), None, "compound wildcard indexes, which MongoDB 7.0"),
        ((5, 0), Index("a", expire_after=1), Index("a"), "an expiry, which MongoDB 5.1 brought"),
        ((5, 3), Index("a", unique=True), Index("a"), "unique, which MongoDB 6.0 brought"),
    ],
)
def test_a_server_that_is_too_old(
    server: tuple[int, int], declared: Index, existing: Index | None, feature: str
) -> None:
    registry = IndexRegistry()
    registry.add("c", declared)
    found = ExistingIndexes(indexes=[existing.specification()] if existing else [])
    plan = registry.diff({"c": found}, server=server)
    with pytest.raises(IndexConflict) as caught:
        plan.apply_sync(untouchable, allow_gap=True)
    assert feature in str(caught.value)
    assert f"this server is {server[0]}.{server[1]}" in str(caught.value)
    assert not registry.diff({"c": found}, server=(7, 0)).conflicts
    assert not registry.diff({"c": found}).conflicts


def test_the_limit_is_warned_of_and_kept() -> None:
    registry = IndexRegistry()
    registry.add("c", *(Index(f"f{n}") for n in range(64)))
    plan = registry.diff({})
    assert len(plan.changes) == 63
    (clash,) = plan.conflicts
    assert clash.existing is None
    assert (clash.code, clash.reason) == (67, "would be one too many: MongoDB allows 64 indexes")
    assert plan.warnings[0].reason == "is one of 64 indexes: MongoDB allows 64"
    few = IndexRegistry()
    few.add("c", *(Index(f"f{n}") for n in range(56)))
    assert not few.diff({}).warnings
    one_more = ExistingIndexes(indexes=[Index("other").specification()])
    assert few.diff({"c": one_more}).warnings[0].name == "f55_1"


def test_an_undeclared_prefix_is_warned_of() -> None:
    plan = one(Index("a", "b"), Index("a"))
    assert [(item.name, item.reason[:20]) for item in plan.warnings] == [
        ("a_1", "is a prefix of 'a_1_")
    ]


def test_redundant_asks_no_database() -> None:
    registry = IndexRegistry()
    registry.add("c", Index("a"), Index("a", "b"))
    registry.add("d", Index("a"))
    assert [(item.collection, item.name) for item in registry.redundant()] == [("c", "a_1")]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (12.9, "12 s"),
        (60, "1 min"),
        (119, "119 s"),
        (5400, "90 min"),
        (7200, "2 h"),
        (86_400, "1 d"),
        (90_000, "25 h"),
        (8 * DAY + 5, "8 d"),
    ],
)
def test_an_age_by_its_largest_unit(seconds: float, text: str) -> None:
    assert age(seconds) == text
