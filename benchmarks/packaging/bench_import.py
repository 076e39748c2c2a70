"""Milliseconds that each public import adds to a bare interpreter.

Run: .venv/bin/python benchmarks/packaging/bench_import.py
Statements take turns within a round, so that a slow moment of the machine hits all of them.
"""

import subprocess
import sys
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.lines import line

ROUNDS = 15
STATEMENTS = (
    "pass",
    "import symphonia_perf",
    "import typing",
    "from symphonia_perf.mongo import PoolOptions",
    "from symphonia_perf.mongo import IndexRegistry, Query",
    "from symphonia_perf.cache import Cache, MemoryCacheStore",
    "import pymongo",
    "from symphonia_perf.mongo import create_async_client",
    "import redis.asyncio",
    "from symphonia_perf.redis import wrap",
)


def run(statement: str) -> float:
    """Seconds of one interpreter that executes `statement`."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-I", "-c", statement], check=True)
    return time.perf_counter() - start


def main() -> None:
    """Time every statement in turn, and print what each adds to `pass`."""
    times: dict[str, list[float]] = {statement: [] for statement in STATEMENTS}
    for _ in range(ROUNDS):
        for statement in STATEMENTS:
            times[statement].append(run(statement))
    bare = median(times["pass"])
    for statement in STATEMENTS[1:]:
        added = (median(times[statement]) - bare) * 1000
        line("import", "pymongo", "redis", statement=statement, ms=round(added, 1), rounds=ROUNDS)


if __name__ == "__main__":
    main()
