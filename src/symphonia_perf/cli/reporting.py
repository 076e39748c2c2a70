"""What the commands print: JSON for machines, lines for people."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import click
from bson import json_util

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

__all__ = ["plan_document", "print_json", "print_plan", "served_document", "unused_document"]

_ACTIONS = {CreateIndex: "create", ModifyIndex: "modify", HideIndex: "hide", DropIndex: "drop"}
_COLOURS = {"+": "green", "~": "yellow", "-": "red", "!": "red", "?": "cyan", "w": "yellow"}
_READABLE = json_util.JSONOptions(json_mode=json_util.JSONMode.RELAXED)


def print_json(document: Mapping[str, Any]) -> None:
    """One line; values that JSON does not know as MongoDB's relaxed extended JSON."""
    click.echo(json_util.dumps(document, json_options=_READABLE))


def print_plan(plan: IndexPlan) -> None:
    """The plan for people, in colour on a terminal."""
    for line in plan.describe().splitlines():
        click.secho(line, fg=_COLOURS.get(line[0]))


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


def _change(change: Change) -> Document:
    return {"action": _ACTIONS[type(change)], "name": change.name, **asdict(change)}
