"""What to send, when, and for how long: plain values, checked when they are built."""

import base64
import json
import math
import random
import re
from array import array
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal
from urllib.parse import urlsplit

from symphonia_perf._core.durations import seconds
from symphonia_perf.errors import ConfigurationError

__all__ = ["Arrivals", "Plan", "Request", "arrivals"]

# RFC 9110 section 5.6.2: a method and a field name are tokens.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_UNSAFE = re.compile(r"[\x00-\x20\x7f]")


def _positive(value: object, *, option: str) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 < value < math.inf:  # type: ignore[operator]  # a number by now
        raise ConfigurationError(f"{option}={value!r}: expected a finite number above 0")
    return float(value)  # type: ignore[arg-type]  # the same


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request of the mix. Several may share a name: they are measured as one kind.

    ```python
    from symphonia_perf.loadtest import Request

    orders = [Request(path=f"/api/orders/{n}", name="order", weight=0.01) for n in range(300)]
    plans = Request(path="/api/plans")
    print(plans.name)  # GET /api/plans
    ```

    Raises:
        ConfigurationError: a path without a leading `/`, a method or header that HTTP forbids, a
            weight that is not a finite number above 0.
    """

    path: str  # as sent, percent-encoded, with its query
    method: str = "GET"  # default GET
    body: bytes = b""  # default none
    headers: tuple[tuple[str, str], ...] = ()  # default none: no Accept-Encoding either
    name: str = ""  # the kind it is counted under; default: method and path without query
    weight: float = 1.0  # its share of the mix, relative to the others; default 1

    def __post_init__(self) -> None:
        """Check every field, and fill in the name."""
        if not self.path.startswith("/") or _UNSAFE.search(self.path) or not self.path.isascii():
            raise ConfigurationError(
                f"path={self.path!r}: expected a percent-encoded path that begins with /"
            )
        if not _TOKEN.fullmatch(self.method):
            raise ConfigurationError(f"method={self.method!r}: expected a word such as GET")
        object.__setattr__(self, "headers", tuple(map(tuple, self.headers)))
        for name, value in self.headers:
            if not _TOKEN.fullmatch(name) or re.search(r"[\r\n\0]", value):
                raise ConfigurationError(
                    f"headers={(name, value)!r}: expected a header name and a value on one line"
                )
        _positive(self.weight, option="weight")
        if not self.name:
            name = f"{self.method} {self.path.partition('?')[0]}"
            object.__setattr__(self, "name", name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One run: a mix of requests that arrive on a schedule fixed before the first is sent.

    Arrivals do not wait for answers (an open loop), as users do not. `spacing="poisson"` draws
    exponential gaps from the seed, so bursts happen as in life; `"uniform"` sends like a metronome.
    Equal plans arrive at equal times, whatever the service does.

    ```python
    from symphonia_perf.loadtest import Plan, Request

    plan = Plan(
        base_url="http://127.0.0.1:8000",
        requests=(Request(path="/api/plans", weight=3), Request(path="/api/carriers")),
        rate=200,
        duration=10,
    )
    ```

    Raises:
        ConfigurationError: names the field, its value and what is allowed.
    """

    base_url: str  # http://host:port, perhaps with a path in front of every request's
    requests: tuple[Request, ...]  # the mix
    rate: float  # arrivals per second
    duration: float  # seconds that are measured
    warmup: float = 0.0  # seconds before them, sent alike and then discarded; default none
    timeout: float = 10.0  # seconds from a request's due time to its complete answer; default 10
    seed: int = 0  # of the gaps and of the order of the mix; default 0
    max_in_flight: int = 512  # a request due while so many wait is counted as dropped; default 512
    spacing: Literal["poisson", "uniform"] = "poisson"  # default poisson

    def __post_init__(self) -> None:
        """Check every field."""
        if not _is_base(self.base_url):
            raise ConfigurationError(
                f"base_url={self.base_url!r}: expected http://host:port or https://host:port"
            )
        if not self.requests or any(not isinstance(each, Request) for each in self.requests):
            raise ConfigurationError(
                f"requests={self.requests!r:.100}: expected a tuple of at least one Request"
            )
        _positive(self.rate, option="rate")
        for option in ("duration", "warmup", "timeout"):
            value = seconds(getattr(self, option), option=option, zero=option == "warmup")
            object.__setattr__(self, option, value)
        if self.spacing not in {"poisson", "uniform"}:
            raise ConfigurationError(f"spacing={self.spacing!r}: expected 'poisson' or 'uniform'")
        for option, least in (("max_in_flight", 1), ("seed", None)):
            count = getattr(self, option)
            if type(count) is not int or (least is not None and count < least):
                wanted = "a whole number" + ("" if least is None else f" of {least} or more")
                raise ConfigurationError(f"{option}={count!r}: expected {wanted}")
        object.__setattr__(self, "requests", tuple(self.requests))

    @property
    def names(self) -> tuple[str, ...]:
        """The kinds of request, each once, in the order of the mix."""
        return tuple(dict.fromkeys(request.name for request in self.requests))

    def to_json(self) -> str:
        """This plan as JSON text; bodies as base64."""

        def encode(value: object) -> str:
            if isinstance(value, bytes):
                return base64.b64encode(value).decode()
            raise TypeError(f"{value!r} is no JSON")

        return json.dumps(asdict(self), default=encode)

    @classmethod
    def from_json(cls, text: str) -> "Plan":
        """The plan that `to_json` wrote.

        Raises:
            ConfigurationError: the text is not a plan.
        """
        try:
            data: dict[str, Any] = json.loads(text)
            requests = tuple(_request(item) for item in data.pop("requests"))
            return cls(**data, requests=requests)
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
            if isinstance(error, ConfigurationError):
                raise
            known = ", ".join(item.name for item in fields(cls))
            raise ConfigurationError(f"not a plan ({error}): expected JSON with {known}") from error


def _is_base(text: object) -> bool:
    if not isinstance(text, str):
        return False
    try:
        url = urlsplit(text)
        reachable = bool(url.hostname) and url.port != 0  # reading the port checks it
    except ValueError:
        return False
    unsafe = url.query or url.fragment or _UNSAFE.search(text)
    return url.scheme in {"http", "https"} and reachable and not unsafe


def _request(data: dict[str, Any]) -> Request:
    body = base64.b64decode(data.pop("body"), validate=True)
    headers = tuple((name, value) for name, value in data.pop("headers"))
    return Request(**data, body=body, headers=headers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """When each request is due, in seconds from the start, and which of the mix it is."""

    due: "array[float]" = field(default_factory=lambda: array("d"))
    which: "array[int]" = field(default_factory=lambda: array("I"))


def arrivals(plan: Plan) -> Arrivals:
    """The whole schedule of `plan`; equal for plans that differ only in what they send, or where.

    A Poisson process at `rate`: exponential gaps, cut off at `warmup + duration`. Gaps and mix come
    from two generators, so the order of the mix is the same under either spacing.
    """
    end = plan.warmup + plan.duration
    due = array("d")
    if plan.spacing == "uniform":
        due.extend(number / plan.rate for number in range(math.ceil(end * plan.rate)))
    else:
        gaps = random.Random(f"gaps {plan.seed}")  # noqa: S311 - a schedule is no secret
        at = gaps.expovariate(plan.rate)
        while at < end:
            due.append(at)
            at += gaps.expovariate(plan.rate)
    mix = random.Random(f"mix {plan.seed}")  # noqa: S311 - the same
    weights = [request.weight for request in plan.requests]
    which = array("I", mix.choices(range(len(weights)), weights, k=len(due)))
    return Arrivals(due=due, which=which)
