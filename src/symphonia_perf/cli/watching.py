"""What a terminal shows while a command takes long: builds, and a server that does not answer."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Timer
from typing import Any

import click
from pymongo import MongoClient
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from symphonia_perf.mongo.indexes import IndexProgress

__all__ = ["build_bars", "told_when_waiting"]

_SILENCE = 1.0  # seconds; a set that is well answers in a tenth of that


@contextmanager
def build_bars(console: Console) -> Iterator[Callable[[IndexProgress], None]]:
    """What takes the progress of builds and draws a bar for each, until the block ends."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    tasks: dict[tuple[str, ...], TaskID] = {}
    with Progress(*columns, console=console, transient=True) as bars:

        def draw(item: IndexProgress) -> None:
            build = (item.collection, *item.indexes)
            if build not in tasks:
                tasks[build] = bars.add_task(item.collection)
            bars.update(
                tasks[build],
                description=f"{item.collection}: {', '.join(item.indexes)}: {item.phase}",
                completed=item.done,
                total=item.total,
            )

        yield draw


@contextmanager
def told_when_waiting(client: MongoClient[Any]) -> Iterator[None]:
    """Says on a terminal whom the command waits for, when no server was found after a second."""

    def tell() -> None:
        servers = client.topology_description.server_descriptions()
        if not client.nodes:
            patience = client.options.server_selection_timeout
            shown = ", ".join("{}:{}".format(*address) for address in servers)
            click.echo(f"Waiting for MongoDB at {shown}, up to {patience:g} s ...", err=True)

    timer = Timer(_SILENCE, tell)
    timer.daemon = True
    if sys.stderr is not None and sys.stderr.isatty():
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
