"""Procedures with scripted servers: what no real one does on request."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from symphonia_perf.errors import ConfigurationError, IndexConflict, MongoOperationError
from symphonia_perf.mongo import DropIndex, HideIndex, Index, IndexClash, ModifyIndex
from symphonia_perf.mongo._apply import Orders, apply
from symphonia_perf.mongo._reading import counters, read, unused
from symphonia_perf.mongo._steps import Command, Pause, Procedure, Step, Together, Unanswered

Answer = Any  # what comes of a step; an exception is raised in the procedure

A = Index("a").specification()
HIDDEN = {**A, "hidden": True}
LOST = Unanswered("createIndexes c: connection closed", operation="createIndexes c")
BUSY = MongoOperationError("collMod c: a build is running", code=12587, operation="collMod c")


def play(procedure: Procedure[Any], answers: Sequence[Answer]) -> tuple[Any, list[Step]]:
    """What the procedure returns when a server answers thus; and the steps that it took."""
    steps: list[Step] = []
    given = iter(answers)
    step = next(procedure)
    try:
        while True:
            steps.append(step)
            answer = next(given)
            is_error = isinstance(answer, Exception)
            step = procedure.throw(answer) if is_error else procedure.send(answer)
    except StopIteration as end:
        assert next(given, None) is None, "the procedure ended before the script did"
        return end.value, steps


def seen(*lines: dict[str, Any]) -> list[Any]:
    """Answers to what a plan asks: buildInfo, listCollections, listIndexes."""
    return [{"versionArray": [6, 0, 5, 0]}, [], list(lines)]


def orders(**given: Any) -> Orders:
    return Orders(
        **{
            "database": "d",
            "planned": None,
            "records": "r",
            "creates": {},
            "modifies": (),
            "rebuilds": (),
            "hides": (),
            "drops": (),
            "progress": None,
            "timeout": None,
            **given,
        }
    )


def ticking(*times: float) -> Callable[[], float]:
    return iter(times).__next__


def names(steps: Sequence[Step]) -> list[str]:
    return [step.operation if isinstance(step, Command) else type(step).__name__ for step in steps]


def test_a_lost_answer_is_looked_for() -> None:
    building = {"spec": A, "buildUUID": b"x"}
    _, steps = play(
        apply(orders(creates={"c": [A]})),
        [LOST, seen(building), None, LOST, seen(building), None, LOST, seen(A)],
    )
    assert names(steps) == ["createIndexes c", "Together", "Pause"] * 2 + [
        "createIndexes c",
        "Together",
    ]
    assert steps[2] == Pause(seconds=0.0)  # the next createIndexes waits with the server


def test_a_command_that_leaves_no_trace_is_given_up() -> None:
    procedure = apply(orders(creates={"c": [A]}))
    with pytest.raises(Unanswered, match="connection closed"):
        play(procedure, [LOST, seen(), None, LOST, seen(), None, LOST, seen()])


def test_a_look_that_fails_says_what_to_do() -> None:
    gone = MongoOperationError("buildInfo: no server")
    with pytest.raises(MongoOperationError, match=r"closed; looking again failed too \(buildInfo"):
        play(apply(orders(creates={"c": [A]})), [LOST, gone])


def test_the_servers_answer_stays_when_the_conflict_is_gone() -> None:
    clash = MongoOperationError("createIndexes c: exists", code=86)
    with pytest.raises(MongoOperationError) as caught:
        play(apply(orders(creates={"c": [A]})), [clash, seen()])
    assert caught.value is clash


def test_duplicates_that_are_gone_meanwhile_are_not_invented() -> None:
    class DriverError(Exception):
        details = {"keyPattern": {"a": 1}, "keyValue": {"a": 1}}  # noqa: RUF012

    twice = MongoOperationError("createIndexes c: E11000", code=11000)
    twice.__cause__ = DriverError()
    with pytest.raises(MongoOperationError) as caught:
        play(apply(orders(creates={"c": [A]})), [twice, []])
    assert caught.value is twice
    silent = MongoOperationError("createIndexes c: E11000", code=11000)
    with pytest.raises(MongoOperationError) as caught:
        play(apply(orders(creates={"c": [A]})), [silent])
    assert caught.value is silent


def modify(**options: Any) -> Orders:
    change = ModifyIndex(collection="c", specification=A, existing=A, options=options)
    return orders(modifies=(change,), timeout=10.0, monotonic=ticking(0.0, 4.0, 9.0, 10.0))


def test_a_busy_collection_is_waited_for_until_time_is_up() -> None:
    _, steps = play(apply(modify(expireAfterSeconds=5)), [seen(A), BUSY, None, BUSY, None, {}])
    assert names(steps)[1:] == ["collMod c", "Pause", "collMod c", "Pause", "collMod c"]
    with pytest.raises(MongoOperationError, match="not done within 10 s") as caught:
        play(apply(modify(expireAfterSeconds=5)), [seen(A), BUSY, None, BUSY, None, BUSY])
    assert caught.value.__cause__ is BUSY


def test_a_lost_race_is_run_again_but_not_for_ever() -> None:
    raced = MongoOperationError("collMod c: modified by another thread", code=125)
    _, steps = play(apply(modify(expireAfterSeconds=5)), [seen(A), raced, None, {}])
    assert names(steps)[1:] == ["collMod c", "Pause", "collMod c"]
    with pytest.raises(MongoOperationError) as caught:
        play(apply(modify(expireAfterSeconds=5)), [seen(A), raced, None, raced, None, raced])
    assert caught.value is raced


def test_a_conversion_that_fails_for_another_reason_is_not_undone() -> None:
    other = MongoOperationError("collMod c: no", code=13)
    with pytest.raises(MongoOperationError) as caught:
        play(apply(modify(unique=True)), [seen(A), {}, other])
    assert caught.value is other


def test_a_rebuild_does_not_restore_what_may_be_under_way() -> None:
    clash = IndexClash(collection="c", declared=A, existing=A, reason="", code=86, gap=True)
    with pytest.raises(Unanswered):
        play(
            apply(orders(rebuilds=(clash,))),
            [seen(A), [], LOST, seen(), None, LOST, seen(), None, LOST, seen()],
        )


def test_a_hide_that_is_refused_is_not_recorded() -> None:
    hide = HideIndex(collection="c", specification=A, observe=1.0)
    refused = MongoOperationError("collMod c: not authorized", code=13)
    with pytest.raises(MongoOperationError) as caught:
        play(apply(orders(hides=(hide,))), [seen(A), refused, refused])
    assert caught.value is refused


@pytest.mark.parametrize(
    "given",
    [
        {"modifies": (ModifyIndex(collection="c", specification=A, existing=A, options={}),)},
        {"hides": (HideIndex(collection="c", specification=A, observe=1.0),)},
        {"drops": (DropIndex(collection="c", specification=HIDDEN, hidden_for=1.0),)},
        {
            "rebuilds": (
                IndexClash(collection="c", declared=A, existing=A, reason="", code=86, gap=True),
            )
        },
    ],
    ids=lambda given: next(iter(given)),
)
def test_an_index_that_is_another_one_by_now_is_left_alone(given: dict[str, Any]) -> None:
    other = {**A, "key": {"b": 1}}
    message = r"c: a_1 is no longer as it was planned with: a_1 \{b: 1\} instead of .*; make a new"
    with pytest.raises(MongoOperationError, match=message):
        play(apply(orders(**given)), [seen(other)])


def test_an_index_that_somebody_brought_back_is_not_dropped() -> None:
    drop = DropIndex(collection="c", specification=HIDDEN, hidden_for=1.0)
    with pytest.raises(MongoOperationError, match=r"a_1 \{a: 1\} instead of a_1 .* hidden=true"):
        play(apply(orders(drops=(drop,))), [seen(A)])
    _, steps = play(apply(orders(drops=(drop,))), [seen(), {}])
    assert names(steps) == ["Together", "findAndModify r"]  # gone; so goes its record


def test_a_gap_that_another_process_closed_is_not_opened_again() -> None:
    wanted = {**A, "sparse": True}
    clash = IndexClash(collection="c", declared=wanted, existing=A, reason="", code=86, gap=True)
    _, steps = play(apply(orders(rebuilds=(clash,))), [seen(wanted), {}])
    assert names(steps) == ["Together", "createIndexes c"]


def test_a_build_that_another_process_dropped_is_begun_again_but_not_for_ever() -> None:
    wanted = {**A, "sparse": True}
    clash = IndexClash(collection="c", declared=wanted, existing=A, reason="", code=86, gap=True)
    aborted = MongoOperationError("createIndexes c: aborted", code=276)
    _, steps = play(apply(orders(rebuilds=(clash,))), [seen(A), {}, aborted, {}])
    assert names(steps)[2:] == ["createIndexes c"] * 2
    with pytest.raises(MongoOperationError) as caught:
        play(apply(orders(rebuilds=(clash,))), [seen(A), {}, aborted, aborted, aborted, {}])
    assert caught.value is aborted


def test_an_old_index_that_another_process_replaced_is_not_restored() -> None:
    wanted = {**A, "sparse": True}
    clash = IndexClash(collection="c", declared=wanted, existing=A, reason="", code=86, gap=True)
    refused = MongoOperationError("createIndexes c: duplicates", code=11000)
    taken = IndexConflict("c: a_1 exists", declared=A, existing=wanted, code=86)
    with pytest.raises(MongoOperationError) as caught:
        play(apply(orders(rebuilds=(clash,))), [seen(A), {}, refused, taken, seen(wanted)])
    assert caught.value is refused


def test_a_plan_is_for_its_own_database() -> None:
    with pytest.raises(ConfigurationError, match="for the database 'shop', not for 'd'"):
        play(apply(orders(planned="shop", creates={"c": [A]})), [])
    _, steps = play(apply(orders(planned="d", creates={"c": [A]})), [{}])
    assert names(steps) == ["createIndexes c"]


def test_behind_mongos_nothing_is_known_to_be_unused() -> None:
    told, _ = play(counters(["c"]), [{"msg": "isdbgrid"}])
    assert told.members == {}
    with pytest.raises(MongoOperationError, match="mongos does not tell its"):
        play(unused(["c"], observed=0.0), [{"msg": "isdbgrid"}])


def test_passive_members_count_too() -> None:
    hello = {"setName": "rs", "hosts": ["a:1"], "passives": ["b:2"], "arbiters": ["c:3"]}
    told, steps = play(counters(["c"]), [hello, [], []])
    assert list(told.members) == ["a:1", "b:2"]
    assert [step.member for step in steps[1:] if isinstance(step, Command)] == ["a:1", "b:2"]


def test_a_member_that_is_alone_is_not_looked_for_by_its_name() -> None:
    told, steps = play(counters(["c"]), [{"setName": "rs", "hosts": ["inside:27017"]}, []])
    assert list(told.members) == ["inside:27017"]
    assert isinstance(steps[1], Command)
    assert steps[1].member is None


def test_nothing_is_asked_together_about_no_collection() -> None:
    found, (step,) = play(read([]), [seen()[:2]])
    assert isinstance(step, Together)
    assert (found.existing, found.server) == ({}, (6, 0))
