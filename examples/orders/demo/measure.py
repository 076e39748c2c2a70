"""The demo's measurements: what each variant can carry, then both under the same three loads."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from examples.orders.demo.stage import Counters, Stage
from examples.orders.demo.traffic import mix
from symphonia_perf.loadtest import (
    CleanRate,
    Plan,
    Result,
    highest_clean_rate,
    interleave,
    run_in_process,
)

__all__ = ["VARIANTS", "Load", "Measured", "Scale", "calibrate", "loads", "measure", "warm_up"]

VARIANTS = ("before", "after")

LIMIT = 1.0  # seconds: the study's own alert is "API response time p95 > 1s"; ours looks at p99
TIMEOUT = 4.0  # seconds after which a client gives up

START = {"before": 24.0, "after": 400.0}  # requests/s with which each search begins


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much is measured: the default is the demo, and fits into two minutes."""

    orders: int = 50_000  # in the database
    rounds: int = 2  # turns of each variant at each load
    duration: float = 4.0  # seconds of one turn
    search: float = 16.0  # seconds to look for what one variant can carry


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One variant under one load."""

    result: Result
    spent: Counters
    requests: int  # that the counters cover


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One arrival rate, and how both variants took it."""

    rate: float  # requests per second
    measured: dict[str, Measured]


def plan_for(stage: Stage, variant: str, *, rate: float, duration: float) -> Plan:
    """The demo's mix at one rate."""
    return Plan(
        base_url=stage.services[variant].url,
        requests=mix(stage.order_ids),
        rate=rate,
        duration=duration,
        timeout=TIMEOUT,
        seed=20,
    )


async def warm_up(stage: Stage, variant: str) -> None:
    """Every kind of request a few times, so that nobody measures a cold start."""
    await run_in_process(plan_for(stage, variant, rate=10, duration=2.0))


async def calibrate(stage: Stage, variant: str, scale: Scale) -> CleanRate:
    """The highest arrival rate that `variant` answers within the limit."""

    async def trial(plan: Plan) -> Result:
        await stage.until_idle()
        return await run_in_process(plan)

    plan = plan_for(stage, variant, rate=START[variant], duration=scale.search / 5)
    plan = replace(plan, timeout=2 * LIMIT)  # who waits longer tells the search nothing more
    return await highest_clean_rate(
        plan, limit=LIMIT, budget=scale.search, wait_idle=False, run=trial
    )


def loads(before: CleanRate) -> tuple[float, float, float]:
    """Half of what `before` can carry, nearly all of it, and surely more than that.

    The search is short, so what it found clean may be less than what could be carried. The heaviest
    load is twice the lowest rate that was seen to be too much.
    """
    most = max(before.rate, 2.0)
    too_much = min(
        (trial.rate for trial in before.trials if not trial.clean and trial.rate > most),
        default=2 * most,
    )
    return round(most * 0.5, 1), round(most * 0.9, 1), round(too_much * 2, 1)


async def measure(
    stage: Stage, rate: float, scale: Scale, tell: Callable[[str, float], object]
) -> Load:
    """Both variants by turns under one load, with what MongoDB did for each."""
    plans = {name: plan_for(stage, name, rate=rate, duration=scale.duration) for name in VARIANTS}
    variant_at = {plan.base_url: name for name, plan in plans.items()}
    spent: dict[str, list[tuple[Counters, int]]] = {name: [] for name in VARIANTS}

    async def turn(plan: Plan) -> Result:
        variant = variant_at[plan.base_url]
        tell(variant, rate)
        await stage.until_idle()
        earlier = await stage.counters(variant)
        result = await run_in_process(plan)
        spent[variant].append(((await stage.counters(variant)).since(earlier), len(result)))
        return result

    results = await interleave(plans, rounds=scale.rounds, attempts=3, run=turn)
    return Load(
        rate=rate,
        measured={
            name: Measured(
                result=results[name],
                spent=Counters(*map(sum, zip(*(each for each, _ in spent[name]), strict=True))),
                requests=sum(count for _, count in spent[name]),
            )
            for name in VARIANTS
        },
    )
