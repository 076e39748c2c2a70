from dataclasses import replace

import pytest

from symphonia_perf.errors import ConfigurationError, GeneratorLagged
from symphonia_perf.loadtest.plan import Plan, Request
from symphonia_perf.loadtest.result import Result
from symphonia_perf.loadtest.runner import measure
from symphonia_perf.loadtest.turns import interleave, order

A = Plan(base_url="http://127.0.0.1:1", requests=(Request(path="/"),), rate=200, duration=0.05)
B = replace(A, base_url="http://127.0.0.1:2")


class Recorder:
    def __init__(self, lags: int = 0) -> None:
        self.runs: list[tuple[str, int]] = []
        self.lags = lags

    async def __call__(self, plan: Plan) -> Result:
        self.runs.append((plan.base_url[-1], plan.seed))
        if self.lags:
            self.lags -= 1
            raise GeneratorLagged("late")

        async def answer(_: Request) -> tuple[int, int]:
            return 200, 0

        return await measure(plan, send=answer)


def test_order_goes_there_and_back() -> None:
    assert order(["a", "b", "c"], 3) == [["a", "b", "c"], ["c", "b", "a"], ["a", "b", "c"]]


async def test_variants_take_turns_under_the_same_seeds() -> None:
    recorder = Recorder()
    results = await interleave({"a": A, "b": B}, rounds=2, run=recorder)
    assert recorder.runs == [("1", 0), ("2", 0), ("2", 1), ("1", 1)]
    assert len(results["a"]) == len(results["b"]) > 0
    assert results["a"].elapsed >= 2 * A.duration


async def test_a_lagging_turn_is_repeated_with_the_same_seed() -> None:
    recorder = Recorder(lags=1)
    await interleave({"a": A, "b": B}, rounds=1, run=recorder)
    assert recorder.runs == [("1", 0), ("1", 0), ("2", 0)]


async def test_a_turn_that_always_lags_is_an_error() -> None:
    with pytest.raises(GeneratorLagged):
        await interleave({"a": A}, rounds=1, attempts=2, run=Recorder(lags=2))


@pytest.mark.parametrize("options", [{"rounds": 0}, {"attempts": 0}])
async def test_bad_options_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError, match="expected 1 or more"):
        await interleave({"a": A}, run=Recorder(), **options)


@pytest.mark.parametrize(
    "other",
    [replace(B, rate=100), replace(B, seed=1), replace(B, requests=(Request(path="/x"),))],
)
async def test_different_schedules_are_refused(other: Plan) -> None:
    with pytest.raises(ConfigurationError, match="differ in their schedule"):
        await interleave({"a": A, "b": other}, run=Recorder())


async def test_no_variants_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="plans=0"):
        await interleave({}, run=Recorder())
