"""Changes in place, retirement and replacement, on a real server."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from symphonia_perf.errors import ConfigurationError, IndexConflict, MongoOperationError
from symphonia_perf.mongo import DropIndex, HideIndex, Index, IndexRegistry, ModifyIndex

pytestmark = pytest.mark.mongo

RECORDS = "symphonia_perf_indexes"
DAY = 86_400


def registry_of(*indexes: Index) -> IndexRegistry:
    registry = IndexRegistry()
    registry.add("c", *indexes)
    return registry


def listed(db: Database[Any]) -> dict[str, dict[str, Any]]:
    return {item["name"]: dict(item) for item in db["c"].list_indexes()}


def test_expiry_hidden_and_unique_change_without_a_build(work: Database[Any]) -> None:
    work["c"].create_index("at", expireAfterSeconds=60)
    work["c"].create_index("plain")
    work["c"].create_index("shown", hidden=True)
    work["c"].create_index("code")
    registry = registry_of(
        Index("at", expire_after=7200, hidden=True),
        Index("plain", expire_after=30),
        Index("shown"),
        Index("code", unique=True),
    )
    plan = registry.plan_sync(work)
    assert plan.describe().splitlines() == [
        "~ c: at_1 expireAfterSeconds 60 -> 7200, hidden unset -> true",
        "~ c: plain_1 expireAfterSeconds unset -> 30",
        "~ c: shown_1 hidden true -> false",
        "~ c: code_1 unique unset -> true",
        "0 to create, 4 to modify, 0 kept, 0 in conflict, 0 unmanaged",
    ]
    plan.apply_sync(work)
    again = registry.plan_sync(work)
    assert len(again.kept) == 4, again.describe()
    work["c"].insert_one({"code": 1})
    with pytest.raises(DuplicateKeyError):
        work["c"].insert_one({"code": 1})
    plan.apply_sync(work)  # out of date, and no harm
    assert registry.plan_sync(work).is_empty


async def test_duplicates_are_named_and_nothing_is_left_behind(
    awork: AsyncDatabase[Any], work: Database[Any]
) -> None:
    work["c"].create_index("code")
    work["c"].insert_many([{"_id": n, "code": n // 2} for n in range(10)])
    registry = registry_of(Index("code", unique=True))
    plan = await registry.plan(awork)
    with pytest.raises(MongoOperationError) as caught:
        await plan.apply(awork)
    assert (caught.value.code, caught.value.code_name) == (359, "CannotConvertIndexToUnique")
    assert "documents with equal values by _id: 0, 1; 2, 3; 4, 5; 2 more" in str(caught.value)
    assert "prepareUnique" not in listed(work)["code_1"]
    work["c"].insert_one({"_id": 10, "code": 0})  # writes go on as before
    work["c"].delete_many({"_id": {"$in": [1, 3, 5, 7, 9, 10]}})
    await plan.apply(awork)
    assert listed(work)["code_1"]["unique"] is True


def test_many_duplicates_make_a_short_error(work: Database[Any]) -> None:
    work["c"].create_index("code")
    work["c"].insert_many([{"_id": {"n": n, "x": "y" * 100}, "code": 7} for n in range(3_000)])
    plan = registry_of(Index("code", unique=True)).plan_sync(work)
    with pytest.raises(
        MongoOperationError, match=r"by _id: \{n: 0, .*\.\.\. and \d+ more char"
    ) as no:
        plan.apply_sync(work)
    assert "and 2997 more" in str(no.value)
    assert len(str(no.value)) < 600


def test_what_somebody_prepared_stays_prepared(work: Database[Any]) -> None:
    work["c"].create_index("code")
    work["c"].insert_many([{"code": 1}, {"code": 1}])
    work.command("collMod", "c", index={"name": "code_1", "prepareUnique": True})
    plan = registry_of(Index("code", unique=True)).plan_sync(work)
    with pytest.raises(MongoOperationError, match="documents with equal values"):
        plan.apply_sync(work)
    assert listed(work)["code_1"]["prepareUnique"] is True
    registry = registry_of(Index("code"))
    registry.plan_sync(work).apply_sync(work)  # prepareUnique true -> false
    assert "prepareUnique" not in listed(work)["code_1"]


async def test_an_index_is_replaced_without_a_gap(
    awork: AsyncDatabase[Any], work: Database[Any]
) -> None:
    work["c"].create_index("a", name="old")
    work["c"].insert_one({"a": 1})
    list(work["c"].find({"a": 1}).hint("old"))
    registry = registry_of(Index("a", "-b", name="new"))
    registry.retire("c", "old", observe=timedelta(days=7))

    first = await registry.plan(awork)
    assert [type(change).__name__ for change in first.changes] == ["CreateIndex", "HideIndex"]
    assert first.describe().splitlines() == [
        "+ c: new {a: 1, b: -1}",
        "~ c: old {a: 1} is retired: hide it, drop it after 7 d",
        "1 to create, 1 to hide, 0 kept, 0 in conflict, 0 unmanaged",
    ]
    await first.apply(awork, drop=True)
    assert listed(work)["old"]["hidden"] is True
    record = work[RECORDS].find_one()
    assert record is not None
    assert record["_id"] == {"collection": "c", "index": "old"}
    assert record["before"]["index"] == "c: old {a: 1}"
    (member,) = record["before"]["members"]
    assert member["uses"] == 1  # hiding sets the counter to zero

    second = await registry.plan(awork)
    assert second.is_empty
    assert second.retiring[0].hidden_for < 60
    assert ". c: old {a: 1} hidden=true has been hidden for" in second.describe()
    await first.apply(awork)  # ten processes hide at once: the first moment counts
    assert work[RECORDS].find_one() == record

    work[RECORDS].update_one({}, {"$set": {"hiddenAt": record["hiddenAt"] - timedelta(days=8)}})
    third = await registry.plan(awork)
    (drop,) = third.changes
    assert isinstance(drop, DropIndex)
    assert drop.hidden_for >= 8 * DAY
    assert "- c: old {a: 1} hidden=true was hidden for 8 d: drop it" in third.describe()
    await third.apply(awork)
    assert "old" in listed(work)  # nobody said drop=True
    await third.apply(awork, drop=True)
    assert list(listed(work)) == ["_id_", "new"]
    assert work[RECORDS].count_documents({}) == 0
    assert (await registry.plan(awork)).is_empty


def test_who_unhides_an_index_is_not_overruled(work: Database[Any]) -> None:
    work["c"].create_index("a", name="old")
    registry = IndexRegistry(records="memory")
    registry.retire("c", "old", observe=0)
    registry.plan_sync(work).apply_sync(work)
    work.command("collMod", "c", index={"name": "old", "hidden": False})
    plan = registry.plan_sync(work)
    assert plan.is_empty
    (warning,) = plan.warnings
    assert "somebody made it visible again" in warning.reason
    assert not plan.unmanaged

    # Declared again and retired once more: the observation begins anew.
    work.command("collMod", "c", index={"name": "old", "hidden": True})
    registry_again = registry_of(Index("a", name="old"))
    registry_again._records = "memory"
    registry_again.plan_sync(work).apply_sync(work)
    assert work["memory"].count_documents({}) == 0
    (hide,) = registry.plan_sync(work).changes
    assert isinstance(hide, HideIndex)


def test_an_interrupted_hide_begins_its_observation_when_it_is_recorded(
    work: Database[Any],
) -> None:
    work["c"].create_index("a", name="old", hidden=True)
    registry = IndexRegistry()
    registry.retire("c", "old", observe=0)
    (hide,) = registry.plan_sync(work).changes
    assert isinstance(hide, HideIndex)
    registry.plan_sync(work).apply_sync(work)
    (drop,) = registry.plan_sync(work).changes
    assert isinstance(drop, DropIndex)


@pytest.mark.parametrize(
    "record",
    [
        {"_id": 7, "hiddenAt": datetime(2020, 1, 1, tzinfo=UTC)},
        {"_id": {"collection": "c", "index": "old"}},
        {"_id": {"collection": "c", "index": "old"}, "hiddenAt": "yesterday"},
        {"_id": {"collection": "c", "index": 7}, "hiddenAt": datetime(2020, 1, 1, tzinfo=UTC)},
    ],
    ids=["strange id", "no moment", "text", "strange name"],
)
def test_a_record_that_is_none_of_ours_is_no_observation(
    work: Database[Any], record: dict[str, Any]
) -> None:
    work["c"].create_index("a", name="old", hidden=True)
    work[RECORDS].insert_one(record)
    registry = IndexRegistry()
    registry.retire("c", "old")
    (hide,) = registry.plan_sync(work).changes
    assert isinstance(hide, HideIndex)
    registry.plan_sync(work).apply_sync(work)
    (retiring,) = registry.plan_sync(work).retiring
    assert 0 <= retiring.hidden_for < 60


def test_records_from_a_clock_ahead_are_waited_for(work: Database[Any]) -> None:
    work["c"].create_index("a", name="old", hidden=True)
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    record = {"_id": {"collection": "c", "index": "old"}, "hiddenAt": tomorrow}
    work[RECORDS].insert_one(record)
    registry = IndexRegistry()
    registry.retire("c", "old", observe=0)
    assert registry.plan_sync(work).retiring[0].hidden_for < 0


def test_what_came_back_after_the_plan_is_not_dropped(work: Database[Any]) -> None:
    work["c"].create_index("a", name="old")
    registry = IndexRegistry()
    registry.retire("c", "old", observe=0)
    registry.plan_sync(work).apply_sync(work)
    late = registry.plan_sync(work)
    assert isinstance(late.changes[0], DropIndex)
    work.command("collMod", "c", index={"name": "old", "hidden": False})  # a query missed it
    with pytest.raises(MongoOperationError, match="old is no longer as it was planned with"):
        late.apply_sync(work, drop=True)
    assert "old" in listed(work)


def test_an_expiry_goes_to_no_other_index(work: Database[Any]) -> None:
    work["c"].create_index("seen", name="n")
    late = registry_of(Index("seen", name="n", expire_after=5)).plan_sync(work)
    work["c"].drop_index("n")
    work["c"].create_index("born", name="n")
    with pytest.raises(MongoOperationError, match=r"n \{born: 1\} instead of n \{seen: 1\}"):
        late.apply_sync(work)
    assert "expireAfterSeconds" not in listed(work)["n"]


def test_a_plan_is_applied_to_its_own_database(work: Database[Any]) -> None:
    plan = registry_of(Index("a")).plan_sync(work)
    other = work.client[f"{work.name}_other"]
    with pytest.raises(ConfigurationError, match="the plan was made for the database"):
        plan.apply_sync(other)
    assert other.list_collection_names() == []


def test_what_is_gone_by_the_time_of_hiding_is_no_fault(work: Database[Any]) -> None:
    work["c"].create_index("a", name="old")
    registry = IndexRegistry()
    registry.retire("c", "old")
    plan = registry.plan_sync(work)
    work["c"].drop_index("old")
    plan.apply_sync(work)
    assert work[RECORDS].count_documents({}) == 0
    assert registry.plan_sync(work).is_empty


def test_one_name_is_rebuilt_where_a_gap_is_allowed(work: Database[Any]) -> None:
    work["c"].create_index("a", name="n")
    work["c"].create_index([("t", "text")], name="text_old")
    registry = registry_of(Index("a", "b", name="n"), Index.text("u", name="text_new"))
    registry.retire("c", "text_old")
    plan = registry.plan_sync(work)
    assert [clash.gap for clash in plan.conflicts] == [True, True]
    with pytest.raises(IndexConflict, match=r"\(or allow_gap=True, --allow-gap\)"):
        plan.apply_sync(work)
    assert list(listed(work)) == ["_id_", "n", "text_old"]
    plan.apply_sync(work, allow_gap=True)
    assert list(listed(work)) == ["_id_", "n", "text_new"]
    assert registry.plan_sync(work).is_empty


async def test_a_gap_closes_again_when_the_new_index_cannot_be_built(
    awork: AsyncDatabase[Any], work: Database[Any]
) -> None:
    work["c"].create_index("a", name="n", sparse=True)
    work["c"].insert_many([{"_id": 1, "b": 5}, {"_id": 2, "b": 5}])
    plan = await registry_of(Index("b", name="n", unique=True)).plan(awork)
    with pytest.raises(MongoOperationError, match=r"in the documents with _id 1, 2$"):
        await plan.apply(awork, allow_gap=True)
    assert listed(work)["n"] == {"v": 2, "key": {"a": 1}, "name": "n", "sparse": True}


def test_an_index_of_another_name_is_nobodys_gap(work: Database[Any]) -> None:
    work["c"].create_index("a", name="theirs")
    plan = registry_of(Index("a", name="ours")).plan_sync(work)
    with pytest.raises(IndexConflict, match="exists under the name 'theirs': declare it by"):
        plan.apply_sync(work, allow_gap=True)
    assert list(listed(work)) == ["_id_", "theirs"]


def test_changes_of_many_kinds_are_finished_in_one_run(work: Database[Any]) -> None:
    work["c"].create_index("t", expireAfterSeconds=5)
    work["c"].create_index("h")
    registry = registry_of(Index("t", expire_after=6), Index("n"), Index("u", unique=True))
    registry.retire("c", "h_1")
    plan = registry.plan_sync(work)
    assert {type(change) for change in plan.changes} > {ModifyIndex, HideIndex}
    plan.apply_sync(work)
    assert registry.plan_sync(work).is_empty
