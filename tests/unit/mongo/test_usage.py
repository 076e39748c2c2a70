from typing import Any

from symphonia_perf.mongo._progress import progress_of
from symphonia_perf.mongo._usage import Counters, unused_indexes


def row(name: str, ops: int, seconds: float = 100.0, **options: Any) -> dict[str, Any]:
    building = {"building": True} if options.pop("building", False) else {}
    spec = {"key": {name: 1}, "name": name, **options}
    return {"name": name, "ops": ops, "counted_for": seconds, "spec": spec, **building}


def unused(*members: list[dict[str, Any]], observed: float = 0.0) -> list[str]:
    told = Counters(members={f"m{n}": {"c": rows} for n, rows in enumerate(members)})
    return [item.name for item in unused_indexes("c", told, observed=observed)]


def test_one_use_on_one_member_is_a_use() -> None:
    assert unused([row("a", 0), row("b", 0)], [row("a", 1), row("b", 0)]) == ["b"]


def test_what_works_by_itself_is_never_unused() -> None:
    rows = [
        row("_id", 0),
        row("u", 0, unique=True),
        row("p", 0, prepareUnique=True),
        row("t", 0, expireAfterSeconds=0),
        row("h", 0, hidden=True),
        row("b", 0, building=True),
        row("s", 0, sparse=True, unique=False),
    ]
    assert unused(rows) == ["s"]


def test_the_shortest_time_counts() -> None:
    members = [row("a", 0, 500.0)], [row("a", 0, 50.0)]
    assert unused(*members, observed=50.0) == ["a"]
    assert unused(*members, observed=51.0) == []
    told = Counters(members={"x": {"c": members[0]}, "y": {"c": members[1]}})
    (found,) = unused_indexes("c", told, observed=0)
    assert (found.counted_for, found.members) == (50.0, ("x", "y"))


def test_the_servers_words_about_a_build() -> None:
    operation = {
        "msg": "Index Build: scanning collection Index Build: scanning collection: 5/9 55%",
        "progress": {"done": 5, "total": 9},
        "command": {"indexes": [{"name": "a_1"}]},
    }
    short = {**operation, "msg": "Index Build: draining", "progress": {"done": 0, "total": 0}}
    first, second = progress_of("c", [operation, short])
    assert (first.phase, first.indexes, first.done) == ("scanning collection", ("a_1",), 5)
    assert round(first.fraction, 2) == 0.56
    assert (second.phase, second.fraction) == ("draining", 0.0)
