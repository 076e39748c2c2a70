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
    assert [record.getMessage() for record in caplog.records] == [
        f"{source}: {operation} failed and was bypassed (0 more since the last warning): "
        "OSError('down')"
        for source, operation in (("cache", "get"), ("cache", "delete"), ("ratelimit", "get"))
    ]
    caplog.clear()
    now = 10.3
    observer(bypass())
    assert "cache: get failed and was bypassed (4 more" in caplog.text
    assert "OSError('down')" in caplog.text


def test_events_of_many_kinds_are_not_logged_each(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    observer = LogObserver(interval=10.0, monotonic=lambda: now)
    for number in range(500):
        observer(bypass(f"tenant {number}"))
    assert len(caplog.records) == 101
    caplog.clear()
    now = 10.0
    observer(bypass("tenant 500"))
    observer(bypass("tenant 0"))
    assert len(caplog.records) == 2


def test_a_percent_sign_in_an_event_is_only_text(caplog: pytest.LogCaptureFixture) -> None:
    LogObserver()(bypass("100%s"))
    assert "cache: 100%s failed" in caplog.text


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
