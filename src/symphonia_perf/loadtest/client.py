"""The HTTP client behind a run: aiohttp, told to do nothing but send and read.

Chosen by measurement against httpx and the bare floor: `benchmarks/loadtest/bench_client.py`.
"""

import resource
from types import TracebackType
from typing import Self

from aiohttp import ClientConnectorError, ClientError, ClientSession, DummyCookieJar, TCPConnector
from yarl import URL

from symphonia_perf.errors import ConfigurationError
from symphonia_perf.loadtest.plan import Plan, Request

__all__ = ["HttpClient"]

_SPARE_FILES = 64  # what a process has open besides: pipes, the loop, logs


class HttpClient:
    """Sends a plan's requests over kept-alive connections, as many as are in flight.

    No redirects, no cookies, no proxy, no decompression: bytes are counted as the wire carried
    them. A host name is resolved once. Built by `run`; made for a plan, opened by `async with`.

    Raises:
        ConfigurationError: on opening, when the process may not have that many connections.
    """

    def __init__(self, plan: Plan) -> None:
        self._connections = plan.max_in_flight
        base = plan.base_url.rstrip("/")
        # Parsing a URL and its headers costs more than a tenth of a request; do it once.
        self._targets = {
            request: (URL(base + request.path, encoded=True), dict(request.headers))
            for request in plan.requests
        }

    async def __aenter__(self) -> Self:
        _allow_files(self._connections + _SPARE_FILES)
        self._session = ClientSession(
            connector=TCPConnector(limit=0, ttl_dns_cache=None),
            cookie_jar=DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("Accept-Encoding", "User-Agent", "Content-Type"),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._session.close()

    async def send(self, request: Request) -> tuple[int, int]:
        """The answer's status, and the size of its body once it was read to the end.

        Raises:
            ConnectionRefusedError: nobody listens there.
            ConnectionError: the connection broke, or what came was not HTTP.
        """
        url, headers = self._targets[request]
        try:
            async with self._session.request(
                request.method,
                url,
                data=request.body or None,
                headers=headers,
                allow_redirects=False,
                timeout=None,  # the runner's own covers the wait before sending too
            ) as response:
                if response.status < 100:  # RFC 9110 section 15; aiohttp takes any three digits
                    raise ConnectionError(f"{request.name}: status {response.status}")
                size = 0
                async for chunk in response.content.iter_any():
                    size += len(chunk)
                return response.status, size
        except ClientConnectorError as error:
            raise error.os_error from error
        except ClientError as error:
            raise ConnectionError(f"{request.name}: {error!r}") from error


def _allow_files(wanted: int) -> None:
    """Raise this process's soft limit of open files to `wanted`, as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise ConfigurationError(
            f"max_in_flight={wanted - _SPARE_FILES}: this process may open {hard} files only; "
            f"expected {hard - _SPARE_FILES} or less, or a higher hard limit (ulimit -Hn)"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
