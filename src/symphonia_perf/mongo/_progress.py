"""How far an index build is, as `$currentOp` tells it."""

from collections.abc import Iterable
from dataclasses import dataclass

from symphonia_perf.mongo._steps import Command
from symphonia_perf.typing import Document

__all__ = ["IndexProgress", "progress_command", "progress_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexProgress:
    """One look at a running index build."""

    collection: str
    indexes: tuple[str, ...]  # all that this build makes
    phase: str  # the server's own words
    done: int  # documents or keys, whatever the phase counts
    total: int

    @property
    def fraction(self) -> float:
        """How much of this phase is done, from 0 to 1."""
        return self.done / self.total if self.total else 0.0


def progress_command(database: str, collection: str) -> Command:
    """Asks for the builds of one collection; a build runs on a thread of the server's own."""
    return Command(
        operation="$currentOp",
        document={
            "aggregate": 1,
            "pipeline": [
                {"$currentOp": {"allUsers": True}},
                {
                    "$match": {
                        "ns": f"{database}.{collection}",
                        "command.createIndexes": collection,
                        "progress": {"$exists": True},
                    }
                },
                {"$project": {"msg": 1, "progress": 1, "command.indexes.name": 1}},
            ],
            "cursor": {},
        },
        cursor=True,
        admin=True,
    )


def progress_of(collection: str, operations: Iterable[Document]) -> list[IndexProgress]:
    """What the answer to `progress_command` says, one for each build."""
    return [
        IndexProgress(
            collection=collection,
            indexes=tuple(item["name"] for item in operation["command"]["indexes"]),
            # The server says it twice, the second time with the numbers and "55%".
            phase=operation["msg"].removeprefix("Index Build: ").split(" Index Build:")[0],
            done=int(operation["progress"]["done"]),
            total=int(operation["progress"]["total"]),
        )
        for operation in operations
    ]
