"""TLS before a server that has none, in a process of its own, until stdin ends.

It prints one JSON line: its port, and the certificate to trust.
"""

import asyncio
import json
import ssl
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any


class Half(asyncio.Protocol):
    """One side of a connection; what it hears, the other says."""

    def __init__(self, port: int | None) -> None:
        self.port = port  # of the server, on the side of the client
        self.other: Half | None = None
        self.early: list[bytes] = []

    def connection_made(self, transport: Any) -> None:
        """Dial on to the server."""
        self.transport = transport
        if self.port is not None:
            self.dialling = asyncio.ensure_future(self.dial(self.port))

    async def dial(self, port: int) -> None:
        """Join the two sides."""
        loop = asyncio.get_running_loop()
        _, other = await loop.create_connection(lambda: Half(None), "127.0.0.1", port)
        self.other, other.other = other, self
        other.transport.write(b"".join(self.early))

    def data_received(self, data: bytes) -> None:
        """Pass it on."""
        if self.other is None:
            self.early.append(data)
        else:
            self.other.transport.write(data)

    def connection_lost(self, _: Exception | None) -> None:
        """Hang up on the other side, too."""
        if self.other is not None:
            self.other.transport.close()


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for `localhost`, and its key."""
    made = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-out", str(made[0]), "-keyout", str(made[1])),
        ],
        check=True,
        capture_output=True,
    )
    return made


async def main(port: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        chain, key = certificate(Path(folder))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain, key)
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Half(port), "127.0.0.1", 0, ssl=context)
        print(
            json.dumps({"port": server.sockets[0].getsockname()[1], "ca": str(chain)}), flush=True
        )
        await asyncio.to_thread(sys.stdin.readline)
        server.close()


if __name__ == "__main__":
    import uvloop

    uvloop.run(main(int(sys.argv[1])))
