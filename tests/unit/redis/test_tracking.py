"""Prefixes and options; the rest is in the integration tests."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from symphonia_perf.errors import ConfigurationError
from symphonia_perf.redis import connect
from symphonia_perf.redis.tracking import merged

texts = st.text(alphabet="ab:é\udcc3", max_size=4)


@given(st.lists(texts, min_size=1))
def test_merged_prefixes_cover_the_same_keys_without_overlap(prefixes: list[str]) -> None:
    kept = [prefix.encode("utf-8", "surrogateescape") for prefix in merged(prefixes)]
    given_ = [prefix.encode("utf-8", "surrogateescape") for prefix in prefixes]
    assert set(kept) <= set(given_)
    assert all(any(prefix.startswith(one) for one in kept) for prefix in given_)
    assert not any(one != other and one.startswith(other) for one in kept for other in kept)
    assert len(set(kept)) == len(kept)


@pytest.mark.parametrize(
    ("prefixes", "named"),
    [
        ((), r"prefixes=\(\)"),
        ("plan:", "prefixes='plan:'"),
        (b"plan:", "prefixes=b'plan:'"),
        (["plan:", 7], "prefix 7"),
        ([b"plan:"], "prefix b'plan:'"),
        (7, "prefixes=7"),
        (None, "prefixes=None"),
    ],
)
def test_bad_prefixes_are_named(prefixes: Any, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        merged(prefixes)


def test_resp2_is_refused_when_it_is_made() -> None:
    redis = connect("redis://127.0.0.1:1?protocol=2")
    with pytest.raises(ConfigurationError, match=r"protocol=2.*pubsub\(\) instead"):
        redis.tracking("plan:", on_key=print, on_flush=print)


async def later(_: str = "") -> None:
    raise AssertionError


class Later:
    """Called, it returns a coroutine."""

    async def __call__(self, _: str = "") -> None:
        raise AssertionError


async def many(_: str = "") -> AsyncIterator[None]:
    yield


@pytest.mark.parametrize("callback", ["on_key", "on_flush", "on_lost"])
@pytest.mark.parametrize(
    ("value", "said"),
    [
        (7, "=7: expected a function"),
        (later, "nobody would await it"),
        (partial(later, ""), "nobody would await it"),
        (Later(), "nobody would await it"),
        (many, "nobody would await it"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_bad_callbacks_are_named(callback: str, value: Any, said: str) -> None:
    callbacks: dict[str, Any] = {"on_key": print, "on_flush": print, callback: value}
    with pytest.raises(ConfigurationError, match=f"{callback}.*{said}"):
        connect("redis://127.0.0.1:1").tracking("plan:", **callbacks)


def test_what_must_be_there_is_not_left_out() -> None:
    callbacks: dict[str, Any] = {"on_key": None, "on_flush": print}
    with pytest.raises(ConfigurationError, match="on_key=None"):
        connect("redis://127.0.0.1:1").tracking("plan:", **callbacks)
