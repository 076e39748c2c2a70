from typing import Any

import pytest

from symphonia_perf.cache import CallOptions, Entry, Lifetime, LoadOptions
from symphonia_perf.cache.options import Recipe
from symphonia_perf.errors import ConfigurationError

RECIPE = Recipe(Lifetime(ttl=100, jitter=0), LoadOptions())


async def _later(value: object) -> Any: ...


class _Later:
    async def __call__(self, value: object) -> Any: ...


def test_what_a_call_does_not_say_is_the_caches() -> None:
    assert RECIPE.varied({}) == RECIPE
    assert RECIPE.varied({"tags": ["plans"]}) == RECIPE


def test_a_call_says_otherwise() -> None:
    def is_good(value: object) -> bool:
        return value == 1

    options: CallOptions = {"ttl": 5, "stale_for": 2, "lock": "none", "timeout": 3}
    recipe = RECIPE.varied({**options, "condition": is_good})
    assert recipe.lifetime == Lifetime(ttl=5, stale_for=2, jitter=0)
    assert (recipe.loading.lock, recipe.timeout, recipe.lease) == ("none", 3.0, 10.0)
    assert recipe.entry(1, {}, 0.0) == Entry(value=1, ttl=5.0, stale_for=2.0)
    assert recipe.entry(2, {}, 0.0) is None
    assert RECIPE.varied({"condition": bool}).entry(0, {}, 0.0) is None
    assert RECIPE.varied({"timeout": None}).timeout is None


def test_a_result_chooses_its_time() -> None:
    def choose(value: Any) -> Any:
        return {"draft": 5, "long": Lifetime(ttl=9, jitter=0)}.get(value)

    recipe = RECIPE.varied({"ttl": choose})
    assert recipe.entry("draft", {}, 0.0) == Entry(value="draft", ttl=5.0)
    assert recipe.entry("long", {}, 0.0) == Entry(value="long", ttl=9.0)
    assert recipe.entry("secret", {}, 0.0) is None
    assert recipe.wants_ages


@pytest.mark.parametrize(
    ("options", "wants"),
    [({}, False), ({"stale_for": 1}, True), ({"ttl": Lifetime(stale_on_error=1)}, True)],
    ids=str,
)
def test_only_what_may_be_stale_wants_ages(options: CallOptions, wants: bool) -> None:  # noqa: FBT001
    assert RECIPE.varied(options).wants_ages is wants


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ttl": 0}, "ttl=0"),
        ({"stale_for": -1}, "stale_for=-1"),
        ({"lock": "global"}, r"lock='global': expected one of \['local', 'distributed', 'none'\]"),
        ({"timeout": 0}, "timeout=0"),
        ({"ttl": Lifetime}, "ttl=<class .*: expected seconds, a Lifetime.*, or a function"),
        ({"ttl": _later}, "ttl=<function .*, or a function of the result, not an async one"),
        ({"ttl": _Later()}, "ttl=<.*, not an async one"),
        ({"condition": _later}, "condition=.*: expected a function of the result, not an async"),
        ({"condition": True}, "condition=True: expected a function of the result"),
        ({"condition": Lifetime}, "condition=<class .*: expected a function of the result"),
        ({"tll": 5}, r"\['tll'\]: there is no such option; expected one of \['ttl'"),
    ],
    ids=str,
)
def test_what_cannot_work_is_refused(options: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        RECIPE.varied(options)


def test_a_lease_has_a_length() -> None:
    with pytest.raises(ConfigurationError, match="lease=0"):
        LoadOptions(lease=0)
