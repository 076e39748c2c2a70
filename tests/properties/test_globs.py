"""Our globs agree with the server's."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from symphonia_perf._core.globs import Glob

pytestmark = pytest.mark.redis
# No empty one, of which the server itself is of two minds: KEYS "*" finds it, KEYS "**" does not.
TEXTS = [b"a", b"b", b"c", b"-", b"]", b"[", b"\\", b"^", b"*", b"ab", b"a]", b"a-c", b"cab"]


@pytest.fixture
def keys(redis_url: str) -> Iterator["Redis[bytes]"]:
    with Redis.from_url(redis_url) as client:
        client.mset(dict.fromkeys(TEXTS, b""))
        yield client
        client.delete(*TEXTS)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text("abc*?[]^-\\", max_size=8))
def test_globs_match_what_the_server_matches(keys: "Redis[bytes]", pattern: str) -> None:
    glob = Glob(pattern.encode())
    assert {text for text in TEXTS if glob.matches(text)} == set(keys.keys(pattern.encode()))
