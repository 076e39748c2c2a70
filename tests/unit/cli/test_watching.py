import sys
import threading
from io import StringIO
from typing import Any

import pytest
from pymongo import MongoClient
from rich.console import Console

from symphonia_perf.cli.watching import build_bars, told_when_waiting
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


class Terminal(StringIO):
    """Tells when something was written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = threading.Event()

    def isatty(self) -> bool:
        return True

    def flush(self) -> None:
        self.written.set()


def test_a_terminal_is_told_whom_the_command_waits_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("symphonia_perf.cli.watching._SILENCE", 0.01)
    monkeypatch.setattr(sys, "stderr", screen := Terminal())
    uri = "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=7000"
    with MongoClient[Any](uri, connect=False) as client, told_when_waiting(client):
        assert screen.written.wait(10)
    assert screen.getvalue() == "Waiting for MongoDB at 127.0.0.1:1, up to 7 s ...\n"


def test_a_file_is_told_nothing_and_no_timer_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("symphonia_perf.cli.watching._SILENCE", 0.0)
    monkeypatch.setattr(sys, "stderr", stream := StringIO())
    before = threading.active_count()
    client = MongoClient[Any]("mongodb://127.0.0.1:1", connect=False)
    with client, told_when_waiting(client):
        assert threading.active_count() == before
    assert stream.getvalue() == ""
