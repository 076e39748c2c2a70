"""Which indexes no query uses, from the counters of all members."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from symphonia_perf.mongo._normalise import Specification
from symphonia_perf.typing import Document

__all__ = ["Counters", "UnusedIndex", "counters_pipeline", "unused_indexes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnusedIndex:
    """An index that no query has used on any member."""

    collection: str
    specification: Specification
    counted_for: float  # seconds; the shortest time that a member counts
    members: tuple[str, ...]  # who was asked

    @property
    def name(self) -> str:
        """The index's name."""
        return str(self.specification["name"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """What `$indexStats` says, from every member that answered."""

    # member -> collection -> what `counters_pipeline` gives
    members: Mapping[str, Mapping[str, Sequence[Document]]]
    silent: Mapping[str, str] = field(default_factory=dict)  # member -> why it did not answer


def counters_pipeline() -> list[Document]:
    """For each index its name, specification, uses, and seconds since it counts."""
    counted_for = {"$divide": [{"$subtract": ["$$NOW", "$accesses.since"]}, 1000]}
    return [
        {"$indexStats": {}},
        {
            "$project": {
                "_id": 0,
                "name": 1,
                "spec": 1,
                "building": 1,
                "ops": "$accesses.ops",
                "counted_for": counted_for,
            }
        },
    ]


def unused_indexes(
    collection: str, counters: Counters, *, observed: float
) -> Iterator[UnusedIndex]:
    """The indexes without a single use, that every member has counted for `observed` seconds."""
    rows: dict[str, list[Document]] = {}
    for collections in counters.members.values():
        for row in collections[collection]:
            rows.setdefault(row["name"], []).append(row)
    for found in rows.values():
        counted_for = min(row["counted_for"] for row in found)
        if (
            counted_for >= observed
            and not any(row["ops"] or row.get("building") for row in found)
            and _only_serves_queries(found[0]["spec"])
        ):
            yield UnusedIndex(
                collection=collection,
                specification=found[0]["spec"],
                counted_for=counted_for,
                members=tuple(counters.members),
            )


def _only_serves_queries(specification: Specification) -> bool:
    """Whether nothing but queries needs it; a hidden one cannot serve any, so it proves nothing."""
    own = ("unique", "prepareUnique", "hidden")
    return (
        dict(specification["key"]) != {"_id": 1}
        and "expireAfterSeconds" not in specification
        and not any(specification.get(option) for option in own)
    )
