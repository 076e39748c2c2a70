"""Our globs against Redis's own rules, byte by byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from symphonia_perf._core.globs import Glob


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        (b"", [b""], [b"a"]),
        (b"plans", [b"plans"], [b"plan", b"planss", b"Plans"]),
        (b"*", [b"", b"a", b"\xff\n"], []),
        (b"a*", [b"a", b"ab"], [b"", b"ba"]),
        (b"*a*b", [b"ab", b"xaxb", b"abab"], [b"ba", b"abx"]),
        (b"?", [b"a", b"\n"], [b"", b"ab"]),
        (b"h[ae]llo", [b"hallo", b"hello"], [b"hillo", b"hllo"]),
        (b"h[^e]llo", [b"hallo"], [b"hello"]),
        (b"h[a-c]llo", [b"hbllo"], [b"hdllo", b"h-llo"]),
        (b"h[c-a]llo", [b"hbllo"], [b"hdllo"]),
        (b"[a-]", [b"a", b"]", b"`"], [b"-"]),
        (b"[]", [], [b"", b"]", b"a"]),
        (b"[^]", [b"a", b"]"], [b""]),
        (b"[ab", [b"a", b"b"], [b"c", b"ab"]),
        (b"[\\]]", [b"]"], [b"\\"]),
        (b"[\\", [b"\\"], [b"a"]),
        (b"\\*", [b"*"], [b"\\*", b"a"]),
        (b"a\\", [b"a\\"], [b"a"]),
    ],
)
def test_it_reads_patterns_as_redis_does(
    pattern: bytes, matching: list[bytes], others: list[bytes]
) -> None:
    glob = Glob(pattern)
    assert [text for text in matching + others if glob.matches(text)] == matching


def test_a_hostile_pattern_takes_no_longer_than_its_length() -> None:
    # By backtracking over every star this would not end.
    assert not Glob(b"*a" * 200 + b"b").matches(b"a" * 2_000)


def like_redis(pattern: bytes, text: bytes) -> bool:
    """A simple recursive reading for patterns without brackets."""
    if not pattern:
        return not text
    sign, rest = pattern[:1], pattern[1:]
    if sign == b"*":
        return any(like_redis(rest, text[at:]) for at in range(len(text) + 1))
    if sign == b"\\" and rest:
        sign, rest = rest[:1], rest[1:]
        return text[:1] == sign and like_redis(rest, text[1:])
    return bool(text) and sign in {b"?", text[:1]} and like_redis(rest, text[1:])


@given(st.text("ab*?\\", max_size=8), st.text("ab*\\", max_size=8))
def test_stars_and_signs_are_all_combined_rightly(pattern: str, text: str) -> None:
    ours = Glob(pattern.encode()).matches(text.encode())
    assert ours == like_redis(pattern.encode(), text.encode())
