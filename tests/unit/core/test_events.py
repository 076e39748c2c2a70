import logging

import pytest

from symphonia_perf._core.events import BypassEvent, CacheEvent, Event, LogObserver, emit


def bypass(operation: str = "get", source: str = "cache") -> BypassEvent:
    return BypassEvent(source=source, operation=operation, error=OSError("down"))


def test_a_bypass_is_logged_once_per_interval_and_kind(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.3  # 0.3 - 10 + 10 is not 0.3: the first warning must not depend on that
    observer = LogObserver(interval=10.0, monotonic=lambda: now)
    for _ in range(5):
        observer(bypass())
    observer(bypass("delete"))
    observer(bypass(source="ratelimit"))
    assert [record.args[:3] for record in caplog.records] == [  # type: ignore[index]
        ("cache", "get", 0),
        ("cache", "delete", 0),
        ("ratelimit", "get", 0),
    ]
    caplog.clear()
    now = 10.3
    observer(bypass())
    assert "cache: get failed and was bypassed (4 more" in caplog.text
    assert "OSError('down')" in caplog.text


def test_other_events_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        LogObserver()(CacheEvent(source="cache", kind="hit", key="cache:plan:1"))
    assert not caplog.records


def test_an_observer_that_raises_does_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    def broken(event: Event, /) -> None:
        raise ValueError(event.source)

    emit(broken, Event(source="cache"))
    assert "observer" in caplog.text
    assert "ValueError: cache" in caplog.text


def test_an_observer_is_any_callable() -> None:
    seen: list[Event] = []
    emit(seen.append, bypass())
    assert [event.source for event in seen] == ["cache"]
