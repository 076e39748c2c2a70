import types
from collections.abc import Callable
from typing import Any

import pytest

from symphonia_perf.cache import Cache, InvalidationRules, MemoryCacheStore, on
from symphonia_perf.cache._claims import Claims
from symphonia_perf.cache.keys import Template
from symphonia_perf.errors import ConfigurationError

PLAN = Template("plan:{plan_id}")


async def load(plan_id: str) -> str:
    return plan_id


def of(collection: str) -> Callable[..., Any]:
    def load(plan_id: str) -> str:
        return f"{collection}/{plan_id}"

    return load


def plain() -> Callable[..., Any]:
    def load(plan_id: str) -> str:
        return plan_id

    return load


class Plans:
    def load(self, plan_id: str) -> str:
        return plan_id


class Loader:
    __qualname__ = "Loader of <x>"

    def __call__(self, plan_id: str) -> str:
        return plan_id


def reloaded(function: Any) -> Any:
    """The function as its module makes it once more."""
    return types.FunctionType(function.__code__.replace(co_firstlineno=1), function.__globals__)


one, other = (lambda plan_id: plan_id), (lambda plan_id: [plan_id])
plans, called = Plans(), Loader()


@pytest.mark.parametrize(
    ("first", "second"),
    [(of("plans"), of("carriers")), (one, other), (plans.load, Plans().load)],
    ids=["of a factory", "lambdas", "methods of two objects"],
)
def test_two_functions_of_one_name_are_two(
    first: Callable[..., Any], second: Callable[..., Any]
) -> None:
    claims = Claims()
    claims.claim(PLAN, first)
    with pytest.raises(ConfigurationError, match=r"results: put what they differ in into the temp"):
        claims.claim(PLAN, second)
    claims.claim(Template("plan:{plan_id}:full"), second)
    assert [template.pattern for template in claims.templates] == [
        "plan:{plan_id}",
        "plan:{plan_id}:full",
    ]


@pytest.mark.parametrize(
    ("first", "second"),
    [(load, reloaded(load)), (plain(), plain()), (plans.load, plans.load), (called, called)],
    ids=["reloaded", "closes over nothing", "a method", "a callable"],
)
def test_a_function_that_is_made_again_replaces_the_first(
    first: Callable[..., Any], second: Callable[..., Any]
) -> None:
    claims = Claims()
    for function in (first, second):
        claims.claim(PLAN, function)
    assert len(claims.templates) == 1
    claims.claim(Template("plan:{plan_id}-x"), second)  # it may have two
    assert len(claims.templates) == 2
    with pytest.raises(ConfigurationError, match=r"they would get each other's results$"):
        claims.claim(PLAN, int)


async def test_the_rules_know_every_function_of_one_name() -> None:
    rules = InvalidationRules(on("plan.changed", delete=["plan:{id}"]))
    cache = Cache(MemoryCacheStore(), rules=rules)
    for template, collection in (("plan:{plan_id}", "plans"), ("plan:{plan_id}:full", "full")):
        cache.cached(template)(of(collection))
    async with cache:
        pass
