from io import StringIO

from rich.console import Console

from symphonia_perf.cli.watching import build_bars
from symphonia_perf.mongo import IndexProgress


def test_a_bar_for_each_build() -> None:
    screen = StringIO()
    console = Console(file=screen, force_terminal=True, width=120)
    with build_bars(console) as draw:
        for done in (10, 60):
            draw(
                IndexProgress(
                    collection="orders",
                    indexes=("a_1", "b_1"),
                    phase="scanning collection",
                    done=done,
                    total=100,
                )
            )
        draw(IndexProgress(collection="c", indexes=("x_1",), phase="sorting", done=0, total=7))
    drawn = screen.getvalue()
    assert "orders: a_1, b_1: scanning collection" in drawn
    assert "60/100" in drawn
    assert "c: x_1: sorting" in drawn
