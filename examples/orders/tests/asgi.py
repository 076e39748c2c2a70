"""A client that calls an ASGI application directly: no socket, no server."""

import asyncio
import json
from collections.abc import AsyncGenerator, MutableMapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import quote, urlencode

from starlette.applications import Starlette

from symphonia_perf.typing import Document

Message: TypeAlias = MutableMapping[str, Any]


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Sends requests to one application and collects what it answers."""

    def __init__(self, app: Starlette) -> None:
        self.app = app
        self.answered = asyncio.Event()  # an answer has left, whatever the application still does

    async def get(self, path: str, **query: object) -> Answer:
        return await self.send("GET", path, query=urlencode(query))

    async def put(self, path: str, body: object) -> Answer:
        return await self.send("PUT", path, body=json.dumps(body).encode())

    async def post(self, path: str, body: object) -> Answer:
        return await self.send("POST", path, body=json.dumps(body).encode())

    async def send(self, method: str, path: str, *, query: str = "", body: bytes = b"") -> Answer:
        scope: Document = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": quote(path).encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(b"host", b"orders.example"), (b"content-type", b"application/json")],
            "client": ("127.0.0.1", 50_000),
            "server": ("127.0.0.1", 80),
        }
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                self.answered.set()

        await self.app(scope, receive, send)
        start, *parts = sent
        return Answer(
            status=start["status"],
            headers={name.decode(): value.decode() for name, value in start["headers"]},
            body=b"".join(part["body"] for part in parts),
        )


@asynccontextmanager
async def running(app: Starlette) -> AsyncGenerator[Client, None]:
    """The application between its start and its end."""
    async with app.router.lifespan_context(app):
        yield Client(app)
