import math
from xml.etree import ElementTree as ET

import pytest

from symphonia_perf.errors import ConfigurationError
from symphonia_perf.loadtest.charts import _apart, bar_chart, percentile_chart

SVG = "{http://www.w3.org/2000/svg}"
NASTY = "<b>&\"'\0"
SHOWN = "<b>&\"'\N{REPLACEMENT CHARACTER}"


def texts(root: ET.Element) -> list[str]:
    return [text.text or "" for text in root.iter(f"{SVG}text")]


def widths(root: ET.Element) -> list[float]:
    return [float(bar.attrib["width"]) for bar in root.iter(f"{SVG}rect")]


def test_bars_have_names_values_and_a_description() -> None:
    root = ET.fromstring(bar_chart("p99", ["100/s"], {"before": [1.5], "after": [0.75]}))
    assert root.findtext(f"{SVG}title") == "p99"
    assert root.findtext(f"{SVG}desc") == "100/s: before 1.5 s, after 750 ms"
    assert {"100/s", "before", "1.5 s", "after", "750 ms"} <= set(texts(root))
    first, second = widths(root)
    assert first == pytest.approx(2 * second, rel=0.01)


def test_a_logarithmic_axis_gives_equal_room_to_equal_ratios() -> None:
    chart = bar_chart("p99", ["a", "b", "c"], {"x": [0.01, 0.1, 1.0]}, log=True)
    first, second, third = widths(ET.fromstring(chart))
    assert third - second == pytest.approx(second - first, abs=0.2)


def test_zero_nan_and_infinity_have_no_bar() -> None:
    chart = bar_chart("x", ["a"], {"x": [0.0], "y": [math.nan], "z": [math.inf]}, log=True)
    root = ET.fromstring(chart)
    assert widths(root) == [0.0, 0.0, 0.0]
    assert {"0", "\N{EN DASH}", "∞"} <= set(texts(root))


@pytest.mark.parametrize("log", [True, False])
def test_bars_stay_inside_the_box(log: bool) -> None:  # noqa: FBT001
    chart = bar_chart("x", ["a"], {"tiny": [1e-300], "huge": [1e300]}, log=log)
    root = ET.fromstring(chart)
    width = float(root.attrib["viewBox"].split()[2])
    for bar in root.iter(f"{SVG}rect"):
        assert 0 <= float(bar.attrib["x"]) + float(bar.attrib["width"]) <= width


def test_text_is_escaped_everywhere() -> None:
    root = ET.fromstring(bar_chart(NASTY, [NASTY], {NASTY: [1.0]}, label=lambda _: NASTY))
    assert root.findtext(f"{SVG}title") == SHOWN
    assert texts(root).count(SHOWN) >= 3
    assert not list(root.iter(f"{SVG}b"))
    root = ET.fromstring(percentile_chart(NASTY, {NASTY: [1.0]}))
    assert SHOWN in texts(root)


def test_series_and_categories_must_fit() -> None:
    with pytest.raises(ConfigurationError, match=r"series\['a'\] has 2 values: expected 1"):
        bar_chart("x", ["one"], {"a": [1.0, 2.0]})


@pytest.mark.parametrize(
    "chart",
    [
        bar_chart("x", [], {}),
        bar_chart("x", [], {"a": []}),
        percentile_chart("x", {}),
        percentile_chart("x", {"a": []}),
    ],
)
def test_nothing_to_show_says_so(chart: str) -> None:
    assert texts(ET.fromstring(chart)) == ["no data"]


def points(root: ET.Element) -> list[list[tuple[float, float]]]:
    lines = []
    for line in root.iter(f"{SVG}polyline"):
        pairs = (pair.split(",") for pair in line.attrib["points"].split())
        lines.append([(float(x), float(y)) for x, y in pairs])
    return lines


@pytest.mark.parametrize("log", [True, False])
@pytest.mark.parametrize(
    "values", [[0.5], [0.0, 0.0], [0.0, 1.0], [1e-9, 1e9], [math.inf, 1.0], list(range(5000))]
)
def test_percentile_lines_rise_and_stay_inside(values: list[float], log: bool) -> None:  # noqa: FBT001
    root = ET.fromstring(percentile_chart("x", {"a": values}, log=log))
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    (line,) = points(root)
    assert all(0 <= x <= width and 0 <= y <= height for x, y in line)
    assert line == sorted(line, key=lambda point: (point[0], -point[1]))
    assert sorted((y for _, y in line), reverse=True) == [y for _, y in line]


def test_lines_differ_without_colour() -> None:
    root = ET.fromstring(percentile_chart("x", {"a": [1.0, 2.0], "b": [2.0, 3.0]}))
    dashes = [line.attrib["stroke-dasharray"] for line in root.iter(f"{SVG}polyline")]
    assert len(set(dashes)) == 2
    assert "a: p50 1 s, p90 2 s, p99 2 s, p99.9 2 s" in (root.findtext(f"{SVG}desc") or "")


def test_only_percentiles_that_were_reached_are_marked() -> None:
    root = ET.fromstring(percentile_chart("x", {"a": [1.0] * 100}))
    assert [text for text in texts(root) if text.startswith("p")] == ["p50", "p90", "p99"]


def test_names_of_lines_do_not_overlap() -> None:
    placed = _apart({"a": 10.0, "b": 90.0, "c": 91.0, "d": 92.0}, 0.0, 100.0)
    assert placed == {"a": 10.0, "b": 68.0, "c": 84.0, "d": 100.0}
