"""MongoDB replica sets for a test, by the driver's BSON over plain sockets.

A `MongoClient` would start monitor threads for every look at a server that is not up yet.
"""

import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import bson

from symphonia_perf.errors import ConfigurationError, MongoOperationError
from symphonia_perf.testing.servers.binaries import find_mongod
from symphonia_perf.testing.servers.ports import HOST
from symphonia_perf.testing.servers.process import Server, serving, wait_for
from symphonia_perf.typing import Document, Seconds

__all__ = ["MongoMember", "MongoReplicaSet", "mongo_replica_set"]

T = TypeVar("T")

NAME = "rs0"

# https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/#op_msg
OP_MSG = 2013
HEADER = struct.Struct("<iiiiIB")  # length, request, response to, opcode, flags, kind of section


def ask(port: int, command: Document, *, timeout: float = 2.0) -> Document:
    """The reply of the mongod on `port` to one command on `admin`.

    Raises:
        MongoOperationError: it refused.
        OSError: nobody answers.
    """
    body = bson.encode({**command, "$db": "admin"})
    header = HEADER.pack(HEADER.size + len(body), 1, 0, OP_MSG, 0, 0)
    with socket.create_connection((HOST, port), timeout) as link, link.makefile("rb") as replies:
        link.sendall(header + body)
        prefix = replies.read(HEADER.size)
        size = HEADER.unpack(prefix)[0] - HEADER.size if len(prefix) == HEADER.size else 1
        document = replies.read(size)
        if len(document) < size:
            raise ConnectionError(f"the server on port {port} closed the connection")
    reply: Document = bson.decode(document)
    if not reply["ok"]:
        raise MongoOperationError(
            reply["errmsg"],
            code=reply["code"],
            code_name=reply["codeName"],
            operation=next(iter(command)),
        )
    return reply


class MongoMember(Server):
    """One mongod of a replica set."""

    def __init__(
        self, *, args: Sequence[str], cache_gb: float, name: str, timeout: Seconds
    ) -> None:
        super().__init__(name=name, timeout=timeout)
        self._args = tuple(args)
        self._cache_gb = cache_gb

    @property
    def uri(self) -> str:
        """For a client that should talk to this member only."""
        return f"mongodb://{HOST}:{self.port}/?directConnection=true"

    def ask(self, command: Document) -> Document:
        """The reply to one command on the database `admin`.

        Raises:
            MongoOperationError: the server refused.
            OSError: it does not answer.
        """
        return ask(self.port, command)

    def _command(self) -> Sequence[str]:
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        return [
            str(find_mongod()),
            *("--dbpath", str(data), "--port", str(self.port), "--bind_ip", HOST),
            *("--replSet", NAME, "--oplogSize", "128"),
            *("--wiredTigerCacheSizeGB", str(self._cache_gb)),
            *("--setParameter", "diagnosticDataCollectionEnabled=false"),
            # On SIGTERM a primary waits 15 s for its clients to leave.
            *("--setParameter", "shutdownTimeoutMillisForSignaledShutdown=1000"),
            "--nounixsocket",  # it would stay in the system's temporary folder after a kill
            *self._args,
        ]

    def _answers(self, pid: int) -> bool:
        try:
            return bool(ask(self.port, {"serverStatus": 1})["pid"] == pid)
        except (OSError, MongoOperationError):
            return False


class MongoReplicaSet:
    """A MongoDB replica set whose members a test may kill, pause and start again.

    Attributes:
        name: the replica set's name, as in the URI.
        members: its mongod processes.

    ```python
    from symphonia_perf.testing.servers import mongo_replica_set

    def test_survives_an_election() -> None:
        with mongo_replica_set(members=3) as replica_set:
            lost = replica_set.primary()
            lost.kill()
            assert replica_set.primary() is not lost     # waits for the election
    ```
    """

    name = NAME

    def __init__(self, members: Sequence[MongoMember]) -> None:
        self.members = tuple(members)

    @property
    def uri(self) -> str:
        """For a client that follows the primary."""
        hosts = ",".join(f"{HOST}:{member.port}" for member in self.members)
        return f"mongodb://{hosts}/?replicaSet={NAME}"

    def primary(self, *, timeout: Seconds = 30.0) -> MongoMember:
        """The member that takes writes; waits for it while the members vote.

        Raises:
            ServerStartError: none within `timeout` seconds.
        """
        return self._wait_for(self._elected, timeout)

    def wait_until_complete(self, *, timeout: Seconds = 30.0) -> None:
        """Return when there is a primary and all others follow it, as after `start()` of one.

        Raises:
            ServerStartError: not so within `timeout` seconds.
        """
        others = len(self.members) - 1
        self._wait_for(
            lambda: (
                len(self._hellos("isWritablePrimary")) == 1
                and len(self._hellos("secondary")) == others
            ),
            timeout,
        )

    def _wait_for(self, look: Callable[[], T | None], timeout: Seconds) -> T:
        return wait_for(
            look,
            timeout=timeout,
            otherwise=self._story,
        )

    def _story(self) -> str:
        """Who is there, and the last words of a member that is not, else of the first."""
        there = ", ".join(
            f"{member.name} on port {member.port} {'runs' if member.running else 'does not run'}"
            for member in self.members
        )
        silent = next((member for member in self.members if not member.running), self.members[0])
        # Every look at a member writes a line about its connection; they tell nothing.
        lines = [line for line in silent.tail(2000).splitlines() if '"NETWORK"' not in line]
        told = "\n".join(lines[-20:])
        return f"no primary yet ({there}); a member's log ends:\n{told}"

    def _elected(self) -> MongoMember | None:
        # One that has just come back from a pause may still think it is: the last election wins.
        claims = [(hello["electionId"], n) for n, hello in self._hellos("isWritablePrimary")]
        return self.members[max(claims)[1]] if claims else None

    def _hellos(self, role: str) -> list[tuple[int, Document]]:
        """The members that say they are in this role, by index, with what they say."""
        hellos = []
        for n, member in enumerate(self.members):
            try:
                hello = ask(member.port, {"hello": 1}, timeout=0.5) if member.running else {}
            except (OSError, MongoOperationError):  # paused, or on its way up or down
                continue
            if hello.get(role):
                hellos.append((n, hello))
        return hellos


def _configuration(servers: Sequence[MongoMember]) -> Document:
    members = [{"_id": n, "host": f"{HOST}:{server.port}"} for n, server in enumerate(servers)]
    return {"_id": NAME, "members": members, "settings": {"electionTimeoutMillis": 2000}}


@contextmanager
def mongo_replica_set(
    *,
    members: int = 1,
    args: Sequence[str] = (),
    cache_gb: float = 0.5,
    timeout: Seconds = 60.0,
) -> Iterator[MongoReplicaSet]:
    """A MongoDB replica set with a primary, until the block ends.

    Args:
        members: 1, which has transactions and change streams, or 3, which survives a kill.
        args: further command line options of each mongod.
        cache_gb: WiredTiger's cache of each mongod, in GB (at least 0.25).
        timeout: seconds it may take to answer, and again to elect.

    Raises:
        ConfigurationError: neither one nor three members.
        ServerNotFound: no mongod is installed.
        ServerStartError: a mongod ended, or they did not answer or elect in time.
    """
    if members not in {1, 3}:
        raise ConfigurationError(f"members={members!r}: expected 1 or 3")
    servers = [
        MongoMember(args=args, cache_gb=cache_gb, name=f"mongod-{n}", timeout=timeout)
        for n in range(members)
    ]
    with serving(*servers):
        # Answered once the other members were asked, which takes its time on a busy machine.
        ask(servers[0].port, {"replSetInitiate": _configuration(servers)}, timeout=30.0)
        replica_set = MongoReplicaSet(servers)
        replica_set.wait_until_complete(timeout=timeout)
        yield replica_set
