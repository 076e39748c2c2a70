"""Free ports of the loopback address."""

import secrets
import socket

from symphonia_perf.errors import ServerStartError

__all__ = ["HOST", "free_port"]

HOST = "127.0.0.1"

# Below the ports that Linux (from 32768) and macOS (from 49152) hand to outgoing connections:
# otherwise a client that keeps knocking at a killed server's port takes it, or meets itself there.
PORTS = range(20_000, 32_000)


def free_port() -> int:
    """A port of 127.0.0.1 on which nobody listens at this moment.

    Raises:
        ServerStartError: none of a hundred tried was free.
    """
    for _ in range(100):
        port = secrets.choice(PORTS)  # not `random`: test runners seed that alike in each process
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise ServerStartError(f"no free port on {HOST} from {PORTS.start} to {PORTS.stop - 1}")
