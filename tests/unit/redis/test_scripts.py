"""A script by its SHA, and what happens when the server has lost it."""

from collections.abc import Sequence
from typing import Any

import pytest

from symphonia_perf.errors import CommandError, ConfigurationError
from symphonia_perf.redis.commands import Argument
from symphonia_perf.redis.scripts import LuaScript


class Recorder:
    """A `Commands` that remembers what it was asked and answers from a list."""

    def __init__(self, *answers: Any) -> None:
        self.asked: list[tuple[tuple[Argument, ...], Any]] = []
        self._answers = list(answers)

    async def execute(self, *args: Argument, deadline: Any = None) -> Any:
        self.asked.append((args, deadline))
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def execute_many(
        self, commands: Sequence[Sequence[Argument]], *, return_errors: bool = False,
        deadline: Any = None,
    ) -> list[Any]:  # fmt: skip
        raise NotImplementedError

    def script(self, lua: str) -> LuaScript:
        return LuaScript(self, lua)


LOST = CommandError("NOSCRIPT No matching script", code="NOSCRIPT")
SHA = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db"  # of "return 1", as SCRIPT LOAD answers


async def test_it_runs_by_its_sha() -> None:
    redis = Recorder(1)
    assert await LuaScript(redis, "return 1")(["k"], [b"a", 2]) == 1
    assert redis.asked == [(("EVALSHA", SHA, 1, "k", b"a", 2), None)]


async def test_a_lost_script_is_sent_again_in_the_same_call() -> None:
    redis = Recorder(LOST, 1)
    assert await LuaScript(redis, "return 1")(["k"], ["a"]) == 1
    assert [args[:2] for args, _ in redis.asked] == [("EVALSHA", SHA), ("EVAL", "return 1")]
    assert redis.asked[1] == (("EVAL", "return 1", 1, "k", "a"), None)


async def test_the_deadline_covers_both_attempts() -> None:
    redis = Recorder(LOST, 1)
    await LuaScript(redis, "return 1")(deadline=0.5)
    assert redis.asked[0][1] == 0.5
    assert 0 < redis.asked[1][1] < 0.5


async def test_the_second_attempt_always_has_some_time() -> None:
    redis = Recorder(LOST, 1)
    await LuaScript(redis, "return 1")(deadline=1e-9)
    assert redis.asked[1][1] == 0.001


async def test_another_error_is_the_caller_s() -> None:
    redis = Recorder(CommandError("WRONGTYPE", code="WRONGTYPE"))
    with pytest.raises(CommandError, match="WRONGTYPE"):
        await LuaScript(redis, "return 1")()
    assert len(redis.asked) == 1


@pytest.mark.parametrize("lua", ["", "  \n", None, b"return 1", 1], ids=repr)
def test_a_script_has_a_source(lua: Any) -> None:
    with pytest.raises(ConfigurationError, match="the source of a Lua script"):
        LuaScript(Recorder(), lua)


def test_a_script_is_utf_8() -> None:
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        LuaScript(Recorder(), "return '\ud800'")


@pytest.mark.parametrize("words", ["plan:1", b"plan:1"], ids=repr)
async def test_a_text_is_not_taken_for_its_letters(words: Any) -> None:
    redis = Recorder()
    with pytest.raises(ConfigurationError, match=r"keys=.* expected a list"):
        await LuaScript(redis, "return 1")(words)
    with pytest.raises(ConfigurationError, match=r"args=.* expected a list"):
        await LuaScript(redis, "return 1")(["plan:1"], words)
    assert redis.asked == []
