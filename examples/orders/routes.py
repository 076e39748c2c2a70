"""The service's face: the same routes, checks and JSON for both wirings.

A wiring hands in its `Orders`. What arrives here from outside is checked here, so that a wiring
only ever sees values of the right type and range, and no input ends in a 500.
"""

import math
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any, Protocol, TypeVar

import msgspec
from bson import ObjectId
from pymongo.errors import ConnectionFailure
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from examples.orders.settings import PAGE, STATUSES, TransportType
from symphonia_perf.typing import Document

__all__ = ["Cursor", "NotFound", "Orders", "create_app"]

T = TypeVar("T")


class NotFound(Exception):
    """Nothing has this id."""

    def __init__(self, kind: str, identity: object) -> None:
        super().__init__(f"no {kind} has the id {str(identity)!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """Where a page ended: the last order's place in the list, newest first.

    Orders imported together have one `createdAt`, so the id decides between those.
    """

    created_at: datetime
    order_id: ObjectId

    def __str__(self) -> str:
        # `Z`, because the plus sign of `+00:00` would reach the server as a space.
        created = self.created_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return f"{created}_{self.order_id}"


class Orders(Protocol):
    """What the routes need of a wiring; documents go out as they come.

    Raises (every method that takes an id):
        NotFound: nothing has this id.
    """

    async def ping(self) -> None:
        """Return when the database answers."""
        ...

    async def plans(self) -> Sequence[Document]:
        """All plans, by id."""
        ...

    async def carriers(self) -> Sequence[Document]:
        """All carriers, by id."""
        ...

    async def carrier(self, carrier_id: str) -> Document:
        """One carrier."""
        ...

    async def update_carrier(self, carrier_id: str, changes: Document) -> Document:
        """One carrier, after the change."""
        ...

    async def orders(
        self, wanted: Document, *, after: Cursor | None, limit: int
    ) -> Sequence[Document]:
        """The first `limit` orders with these values behind the cursor.

        Newest first, equal `createdAt` by descending `_id`.
        """
        ...

    async def order(self, order_id: ObjectId) -> Document:
        """One order."""
        ...

    async def near(self, latitude: float, longitude: float) -> Sequence[Document]:
        """The orders whose pickup is near, nearest first."""
        ...

    async def notify(self, order_id: ObjectId, recipient: str) -> BackgroundTask | None:
        """None when the notification was sent, else the work to do after the answer has left."""
        ...


class CarrierChanges(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """The body of `PUT /api/carriers/{id}`: what may be edited, all of it."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=120)]
    active: bool
    rating: Annotated[float, msgspec.Meta(ge=0, le=5)]
    transport_types: Annotated[list[TransportType], msgspec.Meta(min_length=1, max_length=20)]


class Notification(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `POST /api/transport-orders/{id}/notify`."""

    email: Annotated[str, msgspec.Meta(max_length=254, pattern=r"^[^@\s]+@[^@\s]+\Z")]


def create_app(
    orders: Orders,
    *,
    lifespan: Callable[[Starlette], AbstractAsyncContextManager[None]] | None = None,
) -> Starlette:
    """The service over one wiring."""
    to = _Endpoints(orders)
    return Starlette(
        routes=[
            Route("/health", to.health),
            Route("/api/plans", to.plans),
            Route("/api/carriers", to.carriers),
            Route("/api/carriers/{id}", to.carrier),
            Route("/api/carriers/{id}", to.update_carrier, methods=["PUT"]),
            Route("/api/transport-orders", to.orders),
            Route("/api/transport-orders/near", to.near),
            Route("/api/transport-orders/{id}", to.order),
            Route("/api/transport-orders/{id}/notify", to.notify, methods=["POST"]),
        ],
        exception_handlers={
            HTTPException: _http_problem,
            NotFound: _not_found,
            ConnectionFailure: _no_database,
        },
        lifespan=lifespan,
    )


class _Endpoints:
    def __init__(self, orders: Orders) -> None:
        self._orders = orders

    async def health(self, _request: Request) -> Response:
        await self._orders.ping()
        return _json({"status": "ok"})

    async def plans(self, _request: Request) -> Response:
        return _json({"plans": await self._orders.plans()})

    async def carriers(self, _request: Request) -> Response:
        return _json({"carriers": await self._orders.carriers()})

    async def carrier(self, request: Request) -> Response:
        return _json(await self._orders.carrier(_slug("id", request.path_params["id"])))

    async def update_carrier(self, request: Request) -> Response:
        carrier_id = _slug("id", request.path_params["id"])
        changes = _body(await request.body(), CarrierChanges)
        return _json(await self._orders.update_carrier(carrier_id, msgspec.to_builtins(changes)))

    async def orders(self, request: Request) -> Response:
        given, wanted = request.query_params, Document()
        if status := given.get("status"):
            wanted["status"] = _status(status)
        if client_id := given.get("clientId"):
            wanted["clientId"] = _slug("clientId", client_id)
        after = _cursor(token) if (token := given.get("after")) else None
        # One more than a page, to know whether there is another page.
        found = await self._orders.orders(wanted, after=after, limit=PAGE + 1)
        page = found[:PAGE]
        return _json({"orders": page, "next": _end_of(page) if len(found) > PAGE else None})

    async def order(self, request: Request) -> Response:
        return _json(await self._orders.order(_object_id(request.path_params["id"])))

    async def near(self, request: Request) -> Response:
        latitude = _degrees(request, "lat", limit=90.0)
        longitude = _degrees(request, "lon", limit=180.0)
        return _json({"orders": await self._orders.near(latitude, longitude)})

    async def notify(self, request: Request) -> Response:
        order_id = _object_id(request.path_params["id"])
        recipient = _body(await request.body(), Notification).email
        task = await self._orders.notify(order_id, recipient)
        if task is None:
            return _json({"success": True, "message": "Notification sent"})
        accepted = {"success": True, "message": "Notification accepted"}
        return _json(accepted, status=202, background=task)


def _status(text: str) -> str:
    if text not in STATUSES:
        raise HTTPException(400, f"status is {text!r}; allowed are {', '.join(STATUSES)}")
    return text


def _slug(name: str, text: str) -> str:
    if not re.fullmatch(r"[a-z0-9-]{1,64}", text):
        raise HTTPException(400, f"{name} is {text!r}; it has 1 to 64 of a-z, 0-9 and -")
    return text


def _object_id(text: str) -> ObjectId:
    if not ObjectId.is_valid(text):
        raise HTTPException(400, f"id is {text!r}; it has 24 hexadecimal digits")
    return ObjectId(text)


def _degrees(request: Request, name: str, *, limit: float) -> float:
    text = request.query_params.get(name, "")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not -limit <= value <= limit:  # not-a-number compares as false
        raise HTTPException(400, f"{name} is {text!r}; it is a number from -{limit:g} to {limit:g}")
    return value


_CURSOR = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3})Z_([0-9a-f]{24})", re.ASCII)


def _cursor(text: str) -> Cursor:
    parts = _CURSOR.fullmatch(text)
    try:
        created_at = datetime.fromisoformat(parts[1]).replace(tzinfo=UTC) if parts else None
    except ValueError:  # digits in the right places, but no such day
        created_at = None
    if parts is None or created_at is None:
        raise HTTPException(400, f"after is {text!r}; pass the answer's `next` unchanged")
    return Cursor(created_at=created_at, order_id=ObjectId(parts[2]))


def _end_of(page: Sequence[Document]) -> str:
    return str(Cursor(created_at=page[-1]["createdAt"], order_id=page[-1]["_id"]))


def _body(raw: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.DecodeError as error:
        raise HTTPException(400, f"the body cannot be used: {error}") from None


def _encode_extra(value: Any) -> str:
    if isinstance(value, ObjectId):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form here")


# One renderer for both wirings, so that none of the difference between them is JSON.
_encoder = msgspec.json.Encoder(enc_hook=_encode_extra)


def _json(
    content: object, *, status: int = 200, background: BackgroundTask | None = None
) -> Response:
    body = _encoder.encode(content)
    return Response(body, status, media_type="application/json", background=background)


def _problem(status: int, title: str, detail: str) -> Response:
    """A problem document (RFC 9457)."""
    body = _encoder.encode({"title": title, "status": status, "detail": detail})
    return Response(body, status, media_type="application/problem+json")


async def _http_problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    problem = _problem(error.status_code, HTTPStatus(error.status_code).phrase, error.detail)
    problem.headers.update(error.headers or {})  # a 405 names what is allowed
    return problem


async def _not_found(_request: Request, error: Exception) -> Response:
    return _problem(404, "Not Found", str(error))


async def _no_database(_request: Request, _error: Exception) -> Response:
    return _problem(503, "Service Unavailable", "the database does not answer; try again later")
