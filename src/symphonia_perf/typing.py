"""Public type aliases, so that a service annotates with the same words as the library."""

from collections.abc import Awaitable, Callable, MutableMapping
from datetime import timedelta
from typing import Any, TypeAlias

__all__ = ["ASGIApp", "Document", "Json", "Receive", "Scope", "Seconds", "Send"]

Seconds: TypeAlias = float | timedelta
"""A duration: seconds as a number, or a `timedelta`."""

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"
"""What JSON can say."""

Document: TypeAlias = dict[str, Any]
"""A MongoDB document."""

# ASGI 3.0, https://asgi.readthedocs.io/en/latest/specs/main.html
Scope: TypeAlias = MutableMapping[str, Any]
"""ASGI's connection scope."""

Message: TypeAlias = MutableMapping[str, Any]

Receive: TypeAlias = Callable[[], Awaitable[Message]]
"""ASGI's receive channel."""

Send: TypeAlias = Callable[[Message], Awaitable[None]]
"""ASGI's send channel."""

ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
"""An ASGI application."""
