"""Procedures with scripted servers: what no real one does on request."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from symphonia_perf.errors import MongoOperationError
from symphonia_perf.mongo import HideIndex, Index, IndexClash, ModifyIndex
from symphonia_perf.mongo._apply import Orders, apply
from symphonia_perf.mongo._reading import counters, read, unused
from symphonia_perf.mongo._steps import Command, Pause, Procedure, Step, Together, Unanswered

Answer = Any  # what comes of a step; an exception is raised in the procedure

A = Index("a").specification()
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
    _, steps = play(apply(modify(expireAfterSeconds=5)), [BUSY, None, BUSY, None, {}])
    assert names(steps) == ["collMod c", "Pause", "collMod c", "Pause", "collMod c"]
    with pytest.raises(MongoOperationError, match="not done within 10 s") as caught:
        play(apply(modify(expireAfterSeconds=5)), [BUSY, None, BUSY, None, BUSY])
    assert caught.value.__cause__ is BUSY


def test_a_lost_race_is_run_again_but_not_for_ever() -> None:
    raced = MongoOperationError("collMod c: modified by another thread", code=125)
    _, steps = play(apply(modify(expireAfterSeconds=5)), [raced, None, {}])
    assert names(steps) == ["collMod c", "Pause", "collMod c"]
    with pytest.raises(MongoOperationError) as caught:
        play(apply(modify(expireAfterSeconds=5)), [raced, None, raced, None, raced])
    assert caught.value is raced


def test_a_conversion_that_fails_for_another_reason_is_not_undone() -> None:
    other = MongoOperationError("collMod c: no", code=13)
    with pytest.raises(MongoOperationError) as caught:
        play(apply(modify(unique=True)), [{}, other])
    assert caught.value is other


def test_a_rebuild_does_not_restore_what_may_be_under_way() -> None:
    clash = IndexClash(collection="c", declared=A, existing=A, reason="", code=86, gap=True)
    with pytest.raises(Unanswered):
        play(
            apply(orders(rebuilds=(clash,))),
            [[], LOST, seen(), None, LOST, seen(), None, LOST, seen()],
        )


def test_a_hide_that_is_refused_is_not_recorded() -> None:
    hide = HideIndex(collection="c", specification=A, observe=1.0)
    refused = MongoOperationError("collMod c: not authorized", code=13)
    with pytest.raises(MongoOperationError) as caught:
        play(apply(orders(hides=(hide,))), [refused, refused])
    assert caught.value is refused


def test_behind_mongos_nothing_is_known_to_be_unused() -> None:
    told, _ = play(counters(["c"]), [{"msg": "isdbgrid"}])
    assert told.members == {}
    with pytest.raises(MongoOperationError, match="mongos does not tell its"):
        play(unused(["c"], observed=0.0), [{"msg": "isdbgrid"}])


def test_passive_members_count_too() -> None:
    hello = {"setName": "rs", "hosts": ["a:1"], "passives": ["b:2"], "arbiters": ["c:3"]}
    told, steps = play(counters(["c"]), [hello, [], []])
    assert list(told.members) == ["a:1", "b:2"]
    assert [
        step.member.address for step in steps[1:] if isinstance(step, Command) and step.member
    ] == [
        "a:1",
        "b:2",
    ]


def test_nothing_is_asked_together_about_no_collection() -> None:
    found, (step,) = play(read([]), [seen()[:2]])
    assert isinstance(step, Together)
    assert (found.existing, found.server) == ({}, (6, 0))
