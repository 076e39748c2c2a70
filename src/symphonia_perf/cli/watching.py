"""A progress bar for index builds."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

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

__all__ = ["build_bars"]


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
