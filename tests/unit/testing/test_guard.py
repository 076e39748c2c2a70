import pytest

from symphonia_perf.testing.servers._guard import watched


@pytest.mark.parametrize(
    ("lines", "pids"),
    [
        ([], set()),
        (["+1\n"], {1}),
        (["+1\n", "+22\n", "-1\n"], {22}),
        (["+1\n", "-1\n", "+1\n"], {1}),
        (["-7\n", "+1\n", "-1\n"], set()),
    ],
)
def test_what_is_still_watched_at_the_end(lines: list[str], pids: set[int]) -> None:
    assert watched(lines) == pids
