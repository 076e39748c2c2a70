"""A `Commands` over fakeredis that loses, delays and counts what it is told to."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fakeredis import FakeAsyncRedis

from symphonia_perf.errors import StoreTimeout, StoreUnavailable
from symphonia_perf.redis import wrap
from symphonia_perf.redis.commands import Argument
from symphonia_perf.redis.scripts import LuaScript


class Network:
    """Commands by the lease's verb; `loses` gets no reply, `refuses` is not sent, `holds` waits."""

    def __init__(self) -> None:
        self.redis = wrap(FakeAsyncRedis(), deadline=5.0)
        self.verbs: list[str] = []
        self.asked: list[float] = []  # when, for every acquire
        self.loses: set[str] = set()
        self.refuses: set[str] = set()
        self.raises: dict[str, Exception] = {}
        self.gates: dict[str, asyncio.Event] = {}
        self.deadlines: list[Any] = []

    async def execute(self, *args: Argument, deadline: Any = None) -> Any:
        known = ("acquire", "renew", "release")
        verb = next((str(word) for word in args if word in known), str(args[0]))
        if verb == "acquire":
            self.asked.append(asyncio.get_running_loop().time())
        if verb in self.raises:
            raise self.raises[verb]
        if verb in self.refuses:
            self.verbs.append(f"{verb} refused")
            raise StoreUnavailable("it was not sent")
        reply = await self.redis.execute(*args)
        self.verbs.append(verb)
        self.deadlines.append(deadline)
        if verb in self.gates:
            await self.gates[verb].wait()
        if verb in self.loses:
            raise StoreTimeout("it may have been executed")
        return reply

    async def execute_many(
        self, commands: Sequence[Sequence[Argument]], *, return_errors: bool = False,
        deadline: Any = None,
    ) -> list[Any]:  # fmt: skip
        raise NotImplementedError

    def script(self, lua: str) -> LuaScript:
        return LuaScript(self, lua)

    async def holder(self, name: str = "a") -> bytes | None:
        """Who the server says holds it."""
        reply: bytes | None = await self.redis.execute("GET", f"lease:{{{name}}}")
        return reply


async def until(condition: Callable[[], Any], patience: float = 10.0) -> None:
    async with asyncio.timeout(patience):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.002)


@asynccontextmanager
async def no_task_is_left() -> AsyncIterator[None]:
    """Fail when what ran in here leaves a task or a timer of a lease behind."""
    yield
    await asyncio.sleep(0)
    left = [task for task in asyncio.all_tasks() if "lease" in task.get_name()]
    left = [task for task in left if task is not asyncio.current_task()]
    if left:  # a release of which nobody could wait for the answer any more: it ends soon
        await asyncio.wait(left, timeout=1)
    assert [task for task in left if not task.done()] == []
    assert {task.get_name().partition(" ")[0] for task in left} <= {"release"}
    timers: list[asyncio.TimerHandle] = getattr(asyncio.get_running_loop(), "_scheduled", [])
    set_ = [repr(timer) for timer in timers if not timer.cancelled()]
    assert [timer for timer in set_ if "Keeper" in timer or "_insist" in timer] == []
