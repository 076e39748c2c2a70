"""The runner and its client against a real server, over real sockets."""

import asyncio
import resource
import signal
from time import monotonic
from typing import TYPE_CHECKING

import pytest

from symphonia_perf.errors import ConfigurationError
from symphonia_perf.loadtest import settle
from symphonia_perf.loadtest.client import HttpClient
from symphonia_perf.loadtest.plan import Plan, Request, arrivals
from symphonia_perf.loadtest.runner import measure

if TYPE_CHECKING:
    from conftest import Service


async def test_statuses_and_bytes_are_counted_by_kind(service: "Service") -> None:
    result = await measure(service.plan("/ok", "/broken", "/garbage", "/zero"))
    ok, broken = result.only("GET /ok"), result.only("GET /broken")
    assert ok.statuses == {200: len(ok)}
    assert ok.bytes_received == 2048 * len(ok) > 0
    assert broken.errors == {"HTTP 500": len(broken)}
    garbage = result.only("GET /garbage")
    assert garbage.errors == {"disconnected": len(garbage)}
    zero = result.only("GET /zero")  # three digits, and no status of HTTP
    assert zero.errors == {"disconnected": len(zero)}


async def test_a_request_is_sent_as_it_was_said_and_nothing_more(service: "Service") -> None:
    request = Request(
        path="/echo", method="POST", body=b"\0\xff", headers=(("X-Test", "one"),), name="echo"
    )
    plan = Plan(base_url=service.url + "/", requests=(request,), rate=1, duration=1)
    host = service.url.removeprefix("http://")
    fields = [("accept", "*/*"), ("content-length", "2"), ("host", host), ("x-test", "one")]
    async with HttpClient(plan) as client:
        status, size = await client.send(request)
    assert status == 200
    assert size == len(repr(("POST", fields, b"\0\xff")))


async def test_a_frozen_server_is_felt_by_all_requests_due_meanwhile(service: "Service") -> None:
    plan = service.plan(spacing="uniform", duration=2.0)
    running = asyncio.create_task(measure(plan))
    await asyncio.sleep(0.5)
    service.process.send_signal(signal.SIGSTOP)
    await asyncio.sleep(1)
    service.process.send_signal(signal.SIGCONT)
    result = await running
    assert result.errors == {}
    slow = [
        latency
        for due, latency in zip(arrivals(plan).due, result.latencies, strict=True)
        if 0.6 <= due < 1.2
    ]
    # Half of those waited at least half of what was left.
    assert min(slow) > 0.1
    assert sorted(slow)[30] > 0.4


async def test_a_killed_server_is_counted_and_the_run_ends_on_time(service: "Service") -> None:
    plan = service.plan(duration=1.5, timeout=2.0)
    began = monotonic()
    running = asyncio.create_task(measure(plan))
    await asyncio.sleep(0.5)
    service.process.kill()
    result = await running
    assert monotonic() - began < 1.5 + 2.0 + 1.0
    assert result.statuses[200] > 10
    assert result.errors["refused"] > 50
    assert len(result) == len(arrivals(plan).due)


async def test_nobody_listening_is_refused() -> None:
    plan = Plan(
        base_url="http://127.0.0.1:1", requests=(Request(path="/"),), rate=100, duration=0.2
    )
    result = await measure(plan)
    assert result.errors == {"refused": len(result)}


async def test_more_connections_than_a_process_may_open_are_refused(
    monkeypatch: pytest.MonkeyPatch, service: "Service"
) -> None:
    limits = [(256, 1024)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, pair: limits.append(pair))
    async with HttpClient(service.plan(max_in_flight=100)):
        assert limits == [(256, 1024)]
    async with HttpClient(service.plan(max_in_flight=900)):
        assert limits[-1] == (964, 1024)
    with pytest.raises(ConfigurationError, match=r"max_in_flight=1000: .* expected 960 or less"):
        async with HttpClient(service.plan(max_in_flight=1000)):
            pass


async def test_settle_waits_for_an_idle_service(service: "Service") -> None:
    plan = service.plan()
    assert await settle(plan, limit=2.0)
    service.process.send_signal(signal.SIGSTOP)
    waiting = asyncio.create_task(settle(plan, limit=0.3, patience=20))
    await asyncio.sleep(0.5)
    assert not waiting.done()
    service.process.send_signal(signal.SIGCONT)
    assert await waiting
    service.process.kill()
    service.process.wait()
    assert not await settle(plan, limit=0.05, patience=0.3)
