"""What our listeners share."""

from typing import Any

from symphonia_perf._core.events import LogObserver, Observer
from symphonia_perf.errors import ConfigurationError

__all__ = ["address_text", "checked_observer"]


def checked_observer(observer: Observer | None) -> Observer:
    """The observer, or the one that logs."""
    if observer is None:
        return LogObserver()
    if not callable(observer):
        raise ConfigurationError(f"observer={observer!r}: expected a callable that takes an event")
    return observer


def address_text(address: Any) -> str:
    """`host:port` of an address as the driver has it."""
    host, port = address
    if port is None:  # a socket's path
        return str(host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
