"""The demo's report: one HTML file that explains what was measured, and how."""

import os
import platform
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import groupby

from examples.orders.demo.findings import Findings, Row, change, milliseconds
from examples.orders.demo.measure import LIMIT, TIMEOUT, VARIANTS, Load, Scale
from examples.orders.demo.traffic import MIX
from symphonia_perf.loadtest import (
    Chart,
    Highlight,
    Report,
    Section,
    Table,
    bar_chart,
    percentile_chart,
)

__all__ = ["page"]


def page(found: Findings) -> str:
    """The whole report as HTML."""
    light, middle, heavy = found.loads
    return Report(
        title="The orders service, before and after",
        lead=(
            "One transport-order service, wired twice: as the optimisation study found it, and on "
            "the blocks of symphonia-perf. Both answered the same requests at the same moments."
        ),
        highlights=tuple(_highlights(found)),
        sections=(
            Section(title="Latency under load", blocks=(_bars(found), *map(_curve, found.loads))),
            Section(
                title="By kind of request",
                blocks=(
                    f"At {middle.rate:g} requests/s, which the service could just carry before.",
                    _kinds(middle),
                ),
            ),
            Section(title="All figures", blocks=tuple(_tables(found.rows))),
            Section(title="How it was measured", blocks=_method(light, heavy, found.scale)),
        ),
        footer=_footer(),
    ).html()


def _highlights(found: Findings) -> Iterator[Highlight]:
    by_label = {(row.section.partition(" at ")[0], row.label): row for row in reversed(found.rows)}
    for section, label, title in (
        ("Latency", "p95", f"p95 latency at {found.loads[0].rate:g} requests/s"),
        ("Capacity", "highest clean rate", "highest clean rate"),
        ("Per request", "database time", "database time per request"),
        ("Per request", "bytes from MongoDB", "bytes from MongoDB per request"),
    ):
        row = by_label[section, label]
        yield Highlight(label=title, before=row.before, after=row.after, note=row.change)


def _bars(found: Findings) -> Chart:
    title = "p95 latency by load"
    svg = bar_chart(
        title,
        [f"{load.rate:g} requests/s" for load in found.loads],
        {
            name: [load.measured[name].result.percentile(95) for load in found.loads]
            for name in VARIANTS
        },
        log=True,
    )
    return Chart(svg=svg, caption=f"{title}, shorter is better (logarithmic)")


def _curve(load: Load) -> Chart:
    title = f"Latency at {load.rate:g} requests/s"
    latencies = {name: load.measured[name].result.latencies for name in VARIANTS}
    caption = f"{title} at every percentile, lower is better"
    return Chart(svg=percentile_chart(title, latencies), caption=caption)


def _kinds(load: Load) -> Table:
    rows: list[tuple[str, ...]] = []
    for kind in MIX:
        before, after = (load.measured[name].result.only(kind) for name in VARIANTS)
        rows.append(
            (
                kind,
                f"{len(before)}",
                milliseconds(before, 50),
                milliseconds(after, 50),
                change(before.percentile(50), after.percentile(50)),
            )
        )
    head = ("request", "count", "before, median", "after, median", "change")
    return Table(head=head, rows=rows)


def _tables(rows: list[Row]) -> Iterator[Table]:
    for section, group in groupby(rows, key=lambda row: row.section):
        yield Table(
            caption=section,
            head=("", "before", "after", "change", "the study expected"),
            rows=[(row.label, row.before, row.after, row.change, row.study) for row in group],
        )


def _method(light: Load, heavy: Load, scale: Scale) -> tuple[str | Table, ...]:
    stage = (
        f"A real mongod held {scale.orders:,} orders of about 3 kB, 200 carriers and 20 plans, "
        "once for each variant; a real Valkey held the cache. Each variant ran under uvicorn, "
        "as one process. Everything shared one machine, so the variants took turns and never ran "
        "a load at the same time."
    )
    generator = (
        "The load generator was a process of its own with an open loop: requests arrive on a "
        "schedule drawn beforehand (Poisson), whether or not earlier ones have been answered, "
        "and a latency counts from the moment the request was due. A run in which the generator "
        "itself was late is thrown away. A request that failed ranks as slow as the timeout of "
        f"{TIMEOUT:g} s; “>” marks a percentile that fell among those."
    )
    loads = (
        f"Each variant had {scale.rounds} turns of {scale.duration:g} s at each load, in the "
        "order before, after, after, before. The lightest load gave "
        f"{len(light.measured['before'].result)} requests for each variant, so its p99 rests on "
        f"very few of them. A rate is clean when p99 stays within {LIMIT:g} s, at most 1 % fail, "
        f"and no backlog grows. The heaviest load, {heavy.rate:g} requests/s, is more than the "
        "service could carry before."
    )
    database = (
        "Database time is what the application waited for MongoDB, from the driver's command "
        "events. Operations are the growth of the server's opcounters, and bytes what it sent "
        "on the wire (serverStatus), monitoring and connection handshakes included."
    )
    shares = Table(
        caption="The mix of requests",
        head=("request", "share"),
        rows=[(kind, f"{share} %") for kind, share in MIX.items()],
    )
    return stage, generator, loads, database, shares


def _footer() -> str:
    packages = ("symphonia-perf", "pymongo", "redis", "starlette", "uvicorn", "aiohttp")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC. {os.cpu_count()} cores, {platform.machine()}, "
        f"Python {platform.python_version()}, {versions}. Run again with: make demo"
    )
