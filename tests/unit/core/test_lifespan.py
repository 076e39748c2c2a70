"""Opened in order, closed in reverse, also when one fails."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any

import pytest

import symphonia_perf
from symphonia_perf.errors import ConfigurationError


class Resource:
    def __init__(self, name: str, log: list[str], *, fails: bool = False) -> None:
        self.name = name
        self.log = log
        self.fails = fails

    async def __aenter__(self) -> None:
        if self.fails:
            raise RuntimeError(self.name)
        self.log.append(f"open {self.name}")

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.log.append(f"close {self.name}")


async def test_opened_in_order_and_closed_in_reverse_again_and_again() -> None:
    log: list[str] = []
    running = symphonia_perf.lifespan(Resource("a", log), Resource("b", log))
    for _ in range(2):
        async with running(None):
            assert log == ["open a", "open b"]
        assert log == ["open a", "open b", "close b", "close a"]
        log.clear()


async def test_one_that_fails_closes_those_before_it() -> None:
    log: list[str] = []
    running = symphonia_perf.lifespan(Resource("a", log), Resource("b", log, fails=True))
    with pytest.raises(RuntimeError, match="b"):
        await running(None).__aenter__()
    assert log == ["open a", "close a"]


def test_what_does_not_open_is_named() -> None:
    wrong: Any = "redis://localhost"
    with pytest.raises(ConfigurationError, match="redis://localhost"):
        symphonia_perf.lifespan(wrong)


async def test_a_function_makes_a_resource_for_each_start() -> None:
    log: list[str] = []

    @asynccontextmanager
    async def prepared() -> AsyncGenerator[None, None]:
        log.append("prepared")
        yield
        log.append("undone")

    running = symphonia_perf.lifespan(Resource("a", log), prepared)
    for _ in range(2):
        async with running(None):
            assert log == ["open a", "prepared"]
        assert log == ["open a", "prepared", "undone", "close a"]
        log.clear()
    with pytest.raises(ConfigurationError, match="without calling it"):
        symphonia_perf.lifespan(prepared())


async def test_a_function_that_makes_something_else_closes_those_before_it() -> None:
    log: list[str] = []
    wrong: Any = lambda: "nothing that opens"  # noqa: E731 - as a user would write it
    running = symphonia_perf.lifespan(Resource("a", log), wrong)
    with pytest.raises(ConfigurationError, match="nothing that opens"):
        await running(None).__aenter__()
    assert log == ["open a", "close a"]
