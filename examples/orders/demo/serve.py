"""One variant of the service in a process of its own, as production runs it: uvicorn, one worker.

`python -m examples.orders.demo.serve before|after MONGODB_URI REDIS_URL SOCKET_FD`

The listening socket comes from the parent, so no port can be taken in between. The process ends
when its standard input does, so it never outlives the demo, however that ends.
"""

import asyncio
import json
import socket
import sys
import threading

import uvicorn
from pymongo.monitoring import (
    CommandFailedEvent,
    CommandListener,
    CommandStartedEvent,
    CommandSucceededEvent,
)

from examples.orders import after, before
from examples.orders.demo import STATISTICS_PATH
from symphonia_perf.typing import ASGIApp, Receive, Scope, Send


class DatabaseTime(CommandListener):
    """Counts the commands an application sent to MongoDB and the time it waited for them."""

    def __init__(self) -> None:
        """Start from zero."""
        self.commands = 0
        self.microseconds = 0

    def started(self, event: CommandStartedEvent) -> None:
        """Nothing to count yet."""

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Count an answer, but no waiting for changes that have not happened yet."""
        self.commands += 1
        if event.command_name != "getMore":
            self.microseconds += event.duration_micros

    def failed(self, event: CommandFailedEvent) -> None:
        """Count a failure: its time was spent as well."""
        self.commands += 1
        self.microseconds += event.duration_micros


def with_statistics(app: ASGIApp, spent: DatabaseTime) -> ASGIApp:
    """The application, plus a page the demo reads between two runs."""

    async def outer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != STATISTICS_PATH:
            await app(scope, receive, send)
            return
        body = json.dumps({"commands": spent.commands, "seconds": spent.microseconds / 1e6})
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body.encode()})

    return outer


def main() -> None:
    """Serve until standard input ends."""
    variant, mongodb_uri, redis_url, descriptor = sys.argv[1:]
    spent = DatabaseTime()
    if variant == "before":
        app = before.create_app(mongodb_uri, database=variant, event_listeners=[spent])
    else:
        app = after.create_app(mongodb_uri, redis_url, database=variant, event_listeners=[spent])
    server = uvicorn.Server(
        uvicorn.Config(with_statistics(app, spent), access_log=False, log_level="warning")
    )

    def stop_with_parent() -> None:
        sys.stdin.buffer.read()
        server.should_exit = True

    threading.Thread(target=stop_with_parent, daemon=True).start()
    listening = socket.socket(fileno=int(descriptor))
    asyncio.run(server.serve(sockets=[listening]))


if __name__ == "__main__":
    main()
