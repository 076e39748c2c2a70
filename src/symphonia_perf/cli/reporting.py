"""What the commands print: JSON for machines, lines for people."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import click
from bson import json_util

from symphonia_perf.mongo._texts import age
from symphonia_perf.mongo.indexes import (
    Change,
    CreateIndex,
    DropIndex,
    HideIndex,
    IndexPlan,
    ModifyIndex,
    ServedQuery,
    UnusedIndex,
)
from symphonia_perf.typing import Document

__all__ = [
    "plan_document",
    "print_json",
    "print_plan",
    "served_document",
    "unused_document",
    "unused_lines",
]

_ACTIONS = {CreateIndex: "create", ModifyIndex: "modify", HideIndex: "hide", DropIndex: "drop"}
_COLOURS = {"+": "green", "~": "yellow", "-": "red", "!": "red", "?": "cyan", "w": "yellow"}
_READABLE = json_util.JSONOptions(json_mode=json_util.JSONMode.RELAXED)


def print_json(document: Mapping[str, Any]) -> None:
    """One line; values that JSON does not know as MongoDB's relaxed extended JSON."""
    click.echo(json_util.dumps(document, json_options=_READABLE))


def print_plan(plan: IndexPlan) -> None:
    """The plan for people, in colour on a terminal that has some (https://no-color.org)."""
    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    for line in plan.describe().splitlines():
        click.secho(line, fg=_COLOURS.get(line[0]), color=False if plain else None)


def plan_document(database: str, plan: IndexPlan) -> Document:
    """The plan for machines."""
    return {
        "database": database,
        "drift": bool(plan),
        "changes": [_change(change) for change in plan.changes],
        "conflicts": [{"name": item.name, **asdict(item)} for item in plan.conflicts],
        "kept": [asdict(item) for item in plan.kept],
        "retiring": [asdict(item) for item in plan.retiring],
        "unmanaged": [asdict(item) for item in plan.unmanaged],
        "warnings": [asdict(item) for item in plan.warnings],
    }


def served_document(item: ServedQuery) -> Document:
    """One explained query for machines."""
    return {**asdict(item), "fault": item.fault}


def unused_document(item: UnusedIndex) -> Document:
    """One unused index for machines."""
    return {"name": item.name, **asdict(item)}


def unused_lines(
    idle: Sequence[UnusedIndex], young: Sequence[UnusedIndex], observed: float
) -> list[str]:
    """What `unused` found, for people; the young were counted for less than `observed` seconds."""
    lines = [f"{item.collection}: {item.name}: not used for {_counted(item)}" for item in idle]
    if young:
        longest = max(young, key=lambda item: item.counted_for)
        also = "also " if idle else ""
        lines.append(
            f"Undecided: {len(young)} {also}without a use, but counted for less than "
            f"{age(observed)} (at most {_counted(longest)}); ask again later."
        )
    return lines or ["Every index is used."]


def _counted(item: UnusedIndex) -> str:
    members = len(item.members)
    return f"{age(item.counted_for)} on {members} member{'' if members == 1 else 's'}"


def _change(change: Change) -> Document:
    return {"action": _ACTIONS[type(change)], "name": change.name, **asdict(change)}
