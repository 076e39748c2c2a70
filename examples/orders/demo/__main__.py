"""`python -m examples.orders.demo`: the whole demonstration, in about two minutes.

Exit status: 0 when it measured, 1 when something failed, 2 when no server is installed, 130 after
Ctrl-C.
"""

import argparse
import asyncio
import sys
import time
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from examples.orders.demo.findings import Findings, Row
from examples.orders.demo.measure import (
    VARIANTS,
    Load,
    Scale,
    calibrate,
    loads,
    measure,
    warm_up,
)
from examples.orders.demo.page import page
from examples.orders.demo.stage import Stage, fill, serving
from symphonia_perf.errors import ServerNotFound, SymphoniaError
from symphonia_perf.loadtest import CleanRate
from symphonia_perf.testing.servers import mongo_replica_set, redis_server

QUICK = Scale(orders=2_000, rounds=1, duration=1.0, search=5.0)


def main() -> int:
    """Run, show the table, write the report."""
    parser = argparse.ArgumentParser(
        prog="make demo", description="Measure the orders service before and after."
    )
    parser.add_argument(
        "--report", type=Path, default=Path("demo-report.html"), help="where the report goes"
    )
    parser.add_argument(
        "--quick", action="store_true", help="see whether it works; its figures mean nothing"
    )
    arguments = parser.parse_args()
    report: Path = arguments.report
    console = Console()
    began = time.monotonic()
    try:
        found = asyncio.run(_run(console, QUICK if arguments.quick else Scale()))
    except ServerNotFound as error:
        console.print(
            f"[bold red]The demo needs real servers.[/] {escape(str(error))}", highlight=False
        )
        return 2
    except SymphoniaError as error:
        console.print(f"[bold red]The demo failed.[/] {escape(str(error))}", highlight=False)
        return 1
    except KeyboardInterrupt:
        console.print("Stopped; nothing is left running.")
        return 130
    console.print(_table(found.rows))
    report.write_text(page(found), encoding="utf-8")
    console.print(
        f"{time.monotonic() - began:.0f} s. The report, with charts: {report.resolve().as_uri()}"
    )
    return 0


async def _run(console: Console, scale: Scale) -> Findings:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with ExitStack() as servers, Progress(*columns, console=console) as progress:
        starting = progress.add_task("Starting mongod and Valkey", total=2)
        mongo = servers.enter_context(mongo_replica_set())
        progress.advance(starting)
        redis = servers.enter_context(redis_server())
        progress.advance(starting)

        loading = progress.add_task("Loading transport orders", total=scale.orders)

        def loaded(count: int) -> None:
            progress.update(loading, completed=count)

        order_ids = await fill(mongo.uri, orders=scale.orders, progress=loaded)
        building = progress.add_task("Starting both services (indexes)", total=1)
        async with serving(mongo.uri, redis.url, order_ids) as stage:
            progress.advance(building)
            return await _measure(stage, scale, progress)


async def _measure(stage: Stage, scale: Scale, progress: Progress) -> Findings:
    clean: dict[str, CleanRate] = {}
    calibrating = progress.add_task("", total=len(VARIANTS))
    for variant in VARIANTS:
        progress.update(calibrating, description=f"Finding what {variant!r} can carry")
        await warm_up(stage, variant)
        clean[variant] = await calibrate(stage, variant, scale)
        progress.advance(calibrating)

    rates = loads(clean["before"])
    measuring = progress.add_task("", total=len(rates) * scale.rounds * len(VARIANTS))

    def turn(variant: str, rate: float) -> None:
        progress.update(measuring, description=f"Measuring {variant!r} at {rate:g} requests/s")

    measured: list[Load] = []
    for rate in rates:
        measured.append(await measure(stage, rate, scale, turn))
        progress.advance(measuring, scale.rounds * len(VARIANTS))
    return Findings(loads=measured, clean=clean, scale=scale)


def _table(rows: list[Row]) -> Table:
    table = Table(title="The orders service, before and after", title_justify="left", box=SIMPLE)
    table.add_column("", no_wrap=True)
    for heading in ("before", "after", "change", "study expected"):
        table.add_column(heading, justify="right", no_wrap=True)
    for section, group in groupby(rows, key=lambda row: row.section):
        table.add_section()
        table.add_row(f"[bold]{section}[/]")
        for row in group:
            change = f"[green]{row.change}[/]"
            table.add_row(f"  {row.label}", row.before, row.after, change, row.study)
    return table


if __name__ == "__main__":
    sys.exit(main())
