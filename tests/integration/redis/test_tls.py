"""TLS, through a proxy in the test: the server that comes as a wheel has none."""

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from symphonia_perf.errors import StoreUnavailable
from symphonia_perf.redis import connect, wrap
from symphonia_perf.testing.servers import RedisServer, redis_server

pytestmark = [
    pytest.mark.redis,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate"),
]


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as started:
        yield started


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for `localhost`, its key beside it."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")),
        ],
        check=True,
        capture_output=True,
    )
    return folder / "cert.pem"


@pytest.fixture
async def tls_port(server: RedisServer, certificate: Path) -> AsyncIterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", server.port)
        await asyncio.gather(pipe(reader, inner_writer), pipe(inner_reader, writer))

    listening = await asyncio.start_server(proxy, "127.0.0.1", 0, ssl=context)
    yield listening.sockets[0].getsockname()[1]
    listening.close()
    # The pipes end with their connections; a turn or two, and nothing is left.
    async with asyncio.timeout(5):
        while len(asyncio.all_tasks()) > 2:  # noqa: ASYNC110 - tasks of the streams, not ours
            await asyncio.sleep(0.01)


async def test_a_trusted_server(tls_port: int, certificate: Path) -> None:
    url = f"rediss://localhost:{tls_port}/0?ssl_ca_certs={certificate}"
    async with connect(url, deadline=5.0) as client:
        big = b"x" * 3_000_000
        await client.execute("SET", "big", big)
        found = await asyncio.gather(
            client.execute("GET", "big"), *(client.execute("ECHO", str(n)) for n in range(200))
        )
        assert found == [big, *(b"%d" % n for n in range(200))]


async def test_a_server_that_is_not_trusted_is_not_spoken_to(tls_port: int) -> None:
    async with connect(f"rediss://localhost:{tls_port}/0", deadline=5.0) as client:
        with pytest.raises(StoreUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
            await client.execute("PING")


async def test_tls_to_a_plain_port_and_the_other_way_round(
    tls_port: int, server: RedisServer
) -> None:
    plain = f"rediss://localhost:{server.port}/0"
    async with connect(plain, connect_timeout=0.3) as client:
        with pytest.raises(StoreUnavailable, match="asks for TLS: does that port speak it"):
            await client.execute("PING")
    async with connect(f"redis://localhost:{tls_port}/0") as client:
        with pytest.raises(StoreUnavailable, match="begin the url with rediss://"):
            await client.execute("PING")


async def test_the_name_must_match(tls_port: int, certificate: Path) -> None:
    url = f"rediss://127.0.0.1:{tls_port}/0?ssl_ca_certs={certificate}"
    async with connect(url, deadline=5.0) as client:
        with pytest.raises(StoreUnavailable, match=r"mismatch|doesn't match|not valid for"):
            await client.execute("PING")


async def test_a_certificate_that_is_being_replaced_is_waited_for(
    tls_port: int, certificate: Path, tmp_path: Path, server: RedisServer
) -> None:
    trusted = tmp_path / "trusted.pem"
    shutil.copy(certificate, trusted)
    url = f"rediss://localhost:{tls_port}/0?ssl_ca_certs={trusted}"
    async with connect(url, deadline=5.0, reconnect_step=0.01) as client:
        trusted.write_text("half of a certificate")
        server.ask("CLIENT", "KILL", "TYPE", "normal")
        async with asyncio.timeout(10):
            while True:
                with pytest.raises(StoreUnavailable) as refused:
                    await client.execute("PING")
                if "TLS settings" in str(refused.value):
                    break
        shutil.copy(certificate, trusted)
        async with asyncio.timeout(10):
            while not client.stats().connected:  # noqa: ASYNC110 - what is waited for is elsewhere
                await asyncio.sleep(0.01)
        assert await client.execute("PING") == b"PONG"


async def test_files_named_by_options(tls_port: int, certificate: Path) -> None:
    url = f"rediss://localhost:{tls_port}/0"
    async with connect(url, deadline=5.0, tls_ca_file=str(certificate)) as client:
        assert await client.execute("PING") == b"PONG"


async def test_tracking_beside_a_client_of_redis_py(tls_port: int, certificate: Path) -> None:
    told: list[str] = []
    driver = Redis(host="localhost", port=tls_port, ssl=True, ssl_ca_certs=str(certificate))
    async with (
        driver,
        wrap(driver, deadline=5.0) as redis,
        redis.tracking("plan:", on_key=told.append, on_flush=lambda: told.append("FLUSH")),
    ):
        await redis.execute("SET", "plan:1", "x")
        async with asyncio.timeout(10):
            while told != ["FLUSH", "plan:1"]:  # noqa: ASYNC110 - it happens in a server
                await asyncio.sleep(0.01)


async def test_a_client_certificate(certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    context.load_verify_locations(certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    presented: list[object] = []

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        presented.append(writer.get_extra_info("peercert"))
        while data := await reader.read(4096):
            writer.write(b"+OK\r\n" * data.count(b"*"))
        writer.close()

    listening = await asyncio.start_server(greet, "127.0.0.1", 0, ssl=context)
    url = f"rediss://localhost:{listening.sockets[0].getsockname()[1]}/0"
    files = {
        "tls_ca_file": str(certificate),
        "tls_cert_file": str(certificate),
        "tls_key_file": str(certificate.with_name("key.pem")),
    }
    async with connect(url, deadline=5.0, **files) as client:
        assert await client.execute("PING") == b"OK"
    assert presented[0]
    listening.close()
    await listening.wait_closed()
