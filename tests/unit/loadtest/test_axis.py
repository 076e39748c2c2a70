import math
from xml.etree import ElementTree as ET

import pytest

from symphonia_perf.loadtest._axis import (
    escaped,
    linear,
    logarithmic,
    number_label,
    seconds_label,
)


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([3.2], (0, 1, 2, 3, 4)),
        ([10.0], (0, 2.5, 5, 7.5, 10)),
        ([0.0], (0, 0.25, 0.5, 0.75, 1)),
        ([], (0, 0.25, 0.5, 0.75, 1)),
        ([math.nan, math.inf, 100.0], (0, 25, 50, 75, 100)),
    ],
)
def test_linear_ticks_are_round(values: list[float], ticks: tuple[float, ...]) -> None:
    scale = linear(values)
    assert scale.ticks == pytest.approx(ticks)
    assert scale.place(0) == 0.0
    assert scale.place(ticks[-1]) == 1.0
    assert scale.place(ticks[-1] * 9) == 1.0
    assert scale.place(-1) == 0.0


def test_logarithmic_spans_whole_decades() -> None:
    scale = logarithmic([0.0, 0.005, 0.2], most=7)
    assert scale.ticks == pytest.approx((0.001, 0.01, 0.1, 1.0))
    assert scale.place(0.001) == pytest.approx(0.0)
    assert scale.place(1.0) == pytest.approx(1.0)
    assert scale.place(0.0) == scale.place(-1.0) == 0.0


def test_logarithmic_leaves_decades_out_when_there_are_many() -> None:
    assert logarithmic([1e-6, 1e6], most=4).ticks == pytest.approx((1e-6, 1e-3, 1, 1e3, 1e6))


@pytest.mark.parametrize("values", [[], [0.0], [1.0]])
def test_logarithmic_has_a_decade_even_for_nothing(values: list[float]) -> None:
    assert logarithmic(values, most=4).ticks == (1.0, 10.0)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1.0, "1 s"),
        (12.345, "12.3 s"),
        (1240, "1,240 s"),
        (0.34, "340 ms"),
        (0.9999, "1 s"),
        (0.0123, "12.3 ms"),
        (0.000002, "2 µs"),
        (1e-9, "0.001 µs"),
        (math.inf, "∞"),
        (math.nan, "\N{EN DASH}"),
    ],
)
def test_seconds_label(value: float, text: str) -> None:
    assert seconds_label(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (3.05, "3.05"),
        (12_400, "12,400"),
        (123_456, "123,000"),
        (-2.5, "-2.5"),
        (1e300, "1e+300"),
        (1e-7, "1e-07"),
        (-math.inf, "-∞"),
    ],
)
def test_number_label(value: float, text: str) -> None:
    assert number_label(value) == text


def test_escaped_is_xml_whatever_comes() -> None:
    text = "<a & 'b' \"c\">\0\x1f\ud800\uffff\U0001f600"
    assert ET.fromstring(f"<x>{escaped(text)}</x>").text == (
        "<a & 'b' \"c\">\ufffd\ufffd\ufffd\ufffd\U0001f600"
    )
