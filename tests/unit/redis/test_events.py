"""What the log says of a connection."""

import pytest

from symphonia_perf.redis import ConnectionEvent


@pytest.mark.parametrize(
    ("kind", "happened"),
    [("connected", None), ("closed", None), ("lost", "was lost"), ("unreachable", "could not be")],
)
def test_only_trouble_is_in_the_log(kind: str, happened: str | None) -> None:
    event = ConnectionEvent(source="redis", kind=kind, address="h:1", reason="why")  # type: ignore[arg-type]
    warning = event.warning()
    if happened is None:
        assert warning is None
    else:
        assert warning is not None
        assert (warning.what, warning.detail) == ("connection to h:1", "why")
        assert happened in warning.happened
