"""A and B by turns under one schedule, so that what drifts meanwhile hits both alike."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

from symphonia_perf.errors import ConfigurationError, GeneratorLagged
from symphonia_perf.loadtest.plan import Plan, arrivals
from symphonia_perf.loadtest.process import run_in_process
from symphonia_perf.loadtest.result import Result

__all__ = ["interleave", "order"]


def order(names: Sequence[str], rounds: int) -> list[list[str]]:
    """Whose turn it is in each round: there and back again (A B, B A, A B ...).

    Over an even number of rounds every variant stands at the same mean position, so that a machine
    that grows steadily slower, or warmer, favours none.
    """
    forth = list(names)
    return [forth if number % 2 == 0 else forth[::-1] for number in range(rounds)]


async def interleave(
    plans: Mapping[str, Plan],
    *,
    rounds: int = 2,
    attempts: int = 2,
    run: Callable[[Plan], Awaitable[Result]] = run_in_process,
) -> dict[str, Result]:
    """One result per variant, merged over rounds in which the variants took turns.

    All variants of a round see the same arrivals; each round draws new ones (its seed is the
    plan's plus the round's number).

    ```python
    from dataclasses import replace
    from symphonia_perf.errors import GeneratorLagged
    from symphonia_perf.loadtest import Plan, Request, interleave, run

    mix = (Request(path="/"),)
    before = Plan(base_url="http://127.0.0.1:1", requests=mix, rate=50, duration=0.1)
    after = replace(before, base_url="http://127.0.0.1:2")

    async def answer(request: Request) -> tuple[int, int]:
        return 200, 0

    async def simulate(plan: Plan):
        return await run(plan, send=answer)

    try:
        results = await interleave({"before": before, "after": after}, run=simulate)
        print(results["before"].percentile(99), results["after"].percentile(99))
    except GeneratorLagged as late:  # on a busy machine: measure again
        print(late)
    ```

    Args:
        plans: variant to plan; they may differ in where they go and what they send, not in when.
        rounds: how often each variant has its turn; even numbers cancel a steady drift.
        attempts: how often a turn is tried in which the generator lagged.
        run: measures one plan.

    Raises:
        ConfigurationError: no variant, fewer than one round or attempt, or different schedules.
        GeneratorLagged: the generator lagged in every attempt of a turn.
    """
    for option, value in (("rounds", rounds), ("attempts", attempts), ("plans", len(plans))):
        if value < 1:
            raise ConfigurationError(f"{option}={value!r}: expected 1 or more")
    _require_one_schedule(plans)
    results: dict[str, list[Result]] = {name: [] for name in plans}
    for number, turns in enumerate(order(list(plans), rounds)):
        for name in turns:
            plan = replace(plans[name], seed=plans[name].seed + number)
            results[name].append(await _insist(plan, attempts, run))
    return {name: Result.merge(runs) for name, runs in results.items()}


def _require_one_schedule(plans: Mapping[str, Plan]) -> None:
    first, *others = plans
    wanted = arrivals(plans[first])
    for name in others:
        if arrivals(plans[name]) != wanted or plans[name].names != plans[first].names:
            raise ConfigurationError(
                f"plans[{name!r}] and plans[{first!r}] differ in their schedule: expected the same "
                "rate, duration, warmup, spacing, seed, and the same kinds and weights of requests"
            )


async def _insist(plan: Plan, attempts: int, run: Callable[[Plan], Awaitable[Result]]) -> Result:
    for _ in range(attempts - 1):
        try:
            return await run(plan)
        except GeneratorLagged:
            continue
    return await run(plan)
