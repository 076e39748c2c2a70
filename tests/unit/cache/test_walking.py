from collections.abc import Sequence
from typing import Any

import pytest
from redis.crc import key_slot

from symphonia_perf.cache._walking import _key_in, remove_matching
from symphonia_perf.errors import CommandError


class Cluster:
    """Two primaries and a replica; no command goes to all of them."""

    def __init__(self, *, known: bool = True) -> None:
        self.known = known
        self.keys = {0: [b"a1", b"a2"], 1: [b"b1", b"b2", b"b3"]}
        self.removed: list[bytes] = []

    async def execute(self, *args: Any) -> Any:
        if args != ("CLUSTER", "SLOTS") or not self.known:
            raise CommandError("ERR cluster support disabled", code="ERR", operation="CLUSTER")
        one, other = [b"10.0.0.1", 1, b"id1", []], [b"10.0.0.1", 2, b"id2", []]
        replica = [b"10.0.0.1", 3, b"id3", []]
        return [[0, 99, one, replica], [100, 16_000, other], [16_001, 16_383, one, replica]]

    async def execute_many(self, commands: Sequence[Any]) -> list[Any]:
        return [self.answer(*command) for command in commands]

    def answer(self, name: str, *args: Any) -> Any:
        if name == "UNLINK":
            self.removed += args
            return len(args)
        if name == "SCAN":
            raise CommandError("SCAN is for every node", operation="SCAN")
        _, count, route, cursor, pattern, _ = args
        assert (count, pattern) == (1, "a*")
        keys = self.keys[100 <= key_slot(route.encode()) <= 16_000]
        place = int(cursor)
        return [b"%d" % (place + 1) if place + 1 < len(keys) else b"0", keys[place : place + 1]]


async def test_each_primary_is_walked_through_once() -> None:
    cluster = Cluster()
    assert await remove_matching(cluster, "a*") == 5  # type: ignore[arg-type]
    assert sorted(cluster.removed) == [b"a1", b"a2", b"b1", b"b2", b"b3"]


async def test_a_refusal_that_is_no_clusters_is_raised() -> None:
    with pytest.raises(CommandError, match="SCAN is for every node"):
        await remove_matching(Cluster(known=False), "a*")  # type: ignore[arg-type]


@pytest.mark.parametrize("slots", [range(5), range(16_380, 16_384), range(7_000, 7_001)], ids=str)
def test_a_key_of_a_node_is_found(slots: range) -> None:
    assert key_slot(_key_in([range(0), slots]).encode()) in slots
