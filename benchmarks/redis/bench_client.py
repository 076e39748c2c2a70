"""GET of a 2 KB value: our client against a bare protocol, `wrap()`, redis-py, coredis and glide.

Run: .venv/bin/python benchmarks/redis/bench_client.py [--only asyncio|uvloop|tls] [--quick]
Each client lives in a process of its own and they take turns within a round, so that a slow moment
of the machine hits all; the ratio of medians is what to read. The server is pinned to one core and
the clients to another; `cores: 1` is the run in which both share one. Through TLS the proxy, which
the server needs, sits on the server's core, and the floor goes through it as well.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.lines import line
from benchmarks.redis.peers import interpreter
from symphonia_perf.testing.servers import RedisServer, redis_server

HERE = Path(__file__).parent
OURS = ("floor", "ours", "wrap", "redis-py")
PEERS = ("coredis", "valkey-glide")
TASKS = (1, 64, 256)
PACKAGES = ("redis", "hiredis", "uvloop")
Child = subprocess.Popen[str]


@contextmanager
def child(*words: str) -> Iterator[tuple[Child, dict[str, Any]]]:
    """A process that speaks JSON lines and ends with its stdin, and the first line it said."""
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process, heard(process)
    finally:
        process.communicate(timeout=30)


def heard(process: Child) -> dict[str, Any]:
    """The next line."""
    assert process.stdout is not None
    text = process.stdout.readline()
    if not text:
        raise SystemExit(f"{process.args!r} ended; it said why above")
    said: dict[str, Any] = json.loads(text)
    return said


def asked(process: Child, **order: Any) -> dict[str, Any]:
    """What a side measured in one turn."""
    assert process.stdin is not None
    process.stdin.write(json.dumps(order) + "\n")
    process.stdin.flush()
    return heard(process)


class Contest:
    """The sides on one event loop, with or without TLS, ready to take turns."""

    def __init__(self, stack: ExitStack, pythons: dict[str, str], port: int, **labels: Any) -> None:
        self.labels = labels
        self.sides: dict[str, Child] = {}
        self.hello: dict[str, dict[str, Any]] = {}
        options = ["--uvloop"] * (labels["loop"] == "uvloop")
        if ca := labels.pop("ca", None):
            options += ["--ca", ca]
        for name, python in pythons.items():
            words = (python, str(HERE / "side.py"), name, str(port), *options)
            self.sides[name], self.hello[name] = stack.enter_context(child(*words))
        line("redis.client.idle", *PACKAGES, **self.labels, clients=self.hello)

    def run(self, *, tasks: int, rounds: int, seconds: float, core: int | None, cores: int) -> None:
        """All rounds with so many tasks, as one line."""
        for side in self.sides.values():  # connections that are made on demand, and caches
            asked(side, tasks=tasks, seconds=seconds / 5, core=core)
        turns: dict[str, list[dict[str, float]]] = {name: [] for name in self.sides}
        for number in range(rounds):
            for name in sorted(self.sides, reverse=number % 2 == 1):
                found = asked(self.sides[name], tasks=tasks, seconds=seconds, core=core)
                turns[name].append(found)
        figures = {
            figure: {name: round(median(t[figure] for t in got), 1) for name, got in turns.items()}
            for figure in ("per_second", "cpu_us", "p50_us", "p99_us")
        }
        rate, cpu = figures["per_second"], figures["cpu_us"]
        each = [
            a["per_second"] / b["per_second"]
            for a, b in zip(turns["ours"], turns["floor"], strict=True)
        ]
        line(
            "redis.client",
            *PACKAGES,
            **self.labels,
            tasks=tasks,
            cores=cores,
            rounds=rounds,
            seconds=seconds,
            **figures,
            ours_of={n: round(rate["ours"] / r, 2) for n, r in rate.items() if n != "ours"},
            ours_of_floor_by_round=[round(min(each), 2), round(max(each), 2)],
            wrap_of_redis_py=round(rate["wrap"] / rate["redis-py"], 2) if "wrap" in rate else None,
            cpu_of_floor=round(cpu["ours"] / cpu["floor"], 2),
        )


def interpreters() -> dict[str, str]:
    """A Python for each side; a peer that cannot be had is left out, and a line says why."""
    found = dict.fromkeys(OURS, sys.executable)
    for peer in PEERS:
        python = interpreter(peer)
        if isinstance(python, Path):
            found[peer] = str(python)
        else:
            line("redis.client", skipped=peer, reason=python)
    return found


def main(only: Sequence[str], rounds: int, seconds: float) -> None:
    cores = sorted(os.sched_getaffinity(0))
    far, near = (cores[0], cores[1]) if len(cores) > 1 else (None, None)
    pythons = interpreters()
    with redis_server() as server:
        server.ask("SET", "key", "x" * 2048)
        pinned(server.pid, far)
        for name in only:
            with ExitStack() as stack:
                contest = opened(stack, name, pythons, server, far)
                for tasks in TASKS:
                    contest.run(tasks=tasks, rounds=rounds, seconds=seconds, core=near, cores=2)
                if far is not None and name != "tls":
                    contest.run(tasks=1, rounds=rounds, seconds=seconds, core=far, cores=1)


def opened(
    stack: ExitStack,
    name: str,
    pythons: dict[str, str],
    server: RedisServer,
    core: int | None,
) -> Contest:
    """The contest of this name."""
    said = server.info("server")
    version = said.get("valkey_version", said["redis_version"])
    if name != "tls":
        return Contest(stack, pythons, server.port, loop=name, tls=False, server=version)
    words = (sys.executable, str(HERE / "tls_proxy.py"), str(server.port))
    proxy, at = stack.enter_context(child(*words))
    pinned(proxy.pid, core)
    some = {side: pythons[side] for side in ("floor", "ours", "redis-py")}
    labels = {"loop": "asyncio", "tls": True, "ca": at["ca"], "server": version}
    return Contest(stack, some, at["port"], **labels)


def pinned(pid: int, core: int | None) -> None:
    """Keep a process on a core."""
    if core is not None:
        os.sched_setaffinity(pid, {core})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("asyncio", "uvloop", "tls"), help="one of the contests")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="see whether it runs")
    arguments = parser.parse_args()
    contests = (arguments.only,) if arguments.only else ("asyncio", "uvloop", "tls")
    if arguments.quick:
        main(contests, rounds=1, seconds=0.1)
    else:
        main(contests, rounds=arguments.rounds, seconds=1.0)
