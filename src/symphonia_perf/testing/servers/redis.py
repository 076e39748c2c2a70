"""A Valkey or Redis server for a test, without any driver."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO

from symphonia_perf.errors import CommandError
from symphonia_perf.testing.servers.binaries import find_redis
from symphonia_perf.testing.servers.ports import HOST
from symphonia_perf.testing.servers.process import Server, serving
from symphonia_perf.typing import Seconds

__all__ = ["RedisServer", "ask", "redis_server"]


def ask(port: int, *words: str, timeout: float = 2.0) -> str:
    """The text that the server on `port` replies to one command; an array is one line an element.

    Nothing (the value of a key that is not there) is the empty text.

    Raises:
        CommandError: it replied with an error.
        OSError: nobody answers.
    """
    request = [f"*{len(words)}\r\n"]
    request += [f"${len(word.encode())}\r\n{word}\r\n" for word in words]
    with socket.create_connection((HOST, port), timeout) as link, link.makefile("rb") as replies:
        link.sendall("".join(request).encode())
        return _reply(replies, operation=words[0])


def _reply(replies: BinaryIO, *, operation: str) -> str:
    line = replies.readline().decode().rstrip("\r\n")
    kind, text = line[:1], line[1:]
    if line == "$-1":
        return ""
    if kind == "*":
        return "\n".join(_reply(replies, operation=operation) for _ in range(int(text)))
    if kind == "$":
        text = replies.read(int(text)).decode()
        if replies.readline() == b"\r\n":
            return text
    if kind == "-":
        raise CommandError(text, code=text.partition(" ")[0], operation=operation)
    if kind in {"+", ":"}:
        return text
    raise ConnectionError(f"cut off, or not a reply that is understood here: {line!r}")


def info(port: int, section: str) -> dict[str, str]:
    """One section of INFO.

    Raises:
        CommandError: the server replied with an error.
        OSError: nobody answers.
    """
    lines = ask(port, "INFO", section).splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


class RedisServer(Server):
    """One Valkey or Redis process that keeps nothing on disk unless its arguments say so.

    ```python
    from symphonia_perf.testing.servers import redis_server

    def test_survives_a_restart() -> None:
        with redis_server(args=("--appendonly", "yes")) as server:
            print(server.url)                        # redis://127.0.0.1:20815/0
            server.kill()
            server.start()                           # same port, same data
    ```
    """

    def __init__(
        self, *, args: Sequence[str] = (), name: str = "redis", timeout: Seconds = 30.0
    ) -> None:
        super().__init__(name=name, timeout=timeout)
        self._args = tuple(args)

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"redis://{HOST}:{self.port}/0"

    def ask(self, *words: str) -> str:
        """The text that the server replies to one command; an array is one line an element.

        Nothing (the value of a key that is not there) is the empty text.

        Raises:
            CommandError: it replied with an error.
            OSError: it does not answer.
        """
        return ask(self.port, *words)

    def info(self, section: str) -> dict[str, str]:
        """One section of INFO, for example `info("replication")["role"]`.

        Raises:
            CommandError: the server replied with an error.
            OSError: it does not answer.
        """
        return info(self.port, section)

    def _command(self) -> Sequence[str]:
        options = {
            "port": str(self.port),
            "bind": HOST,
            "dir": str(self.folder),
            "save": "",
            "appendonly": "no",
            "repl-diskless-sync-delay": "0",
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        return [str(find_redis()), *words, *self._args]

    def _answers(self, pid: int) -> bool:
        try:
            return (
                ask(self.port, "PING") == "PONG"  # an error while it loads its data
                and info(self.port, "server")["process_id"] == str(pid)
            )
        except CommandError as error:
            return error.code == "NOAUTH"  # the test's own `--requirepass`
        except OSError:
            return False


@contextmanager
def redis_server(*, args: Sequence[str] = (), timeout: Seconds = 30.0) -> Iterator[RedisServer]:
    """A Valkey or Redis server that answers, until the block ends.

    Args:
        args: further command line options, such as `("--maxmemory", "10mb")`.
        timeout: seconds it may take to answer.

    Raises:
        ServerNotFound: no binary is installed.
        ServerStartError: it ended, or did not answer in time.
    """
    server = RedisServer(args=args, timeout=timeout)
    with serving(server):
        yield server
