"""A standalone mongod that asks for passwords; a replica set would need a key file for it."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from symphonia_perf.testing.servers.binaries import find_mongod
from symphonia_perf.testing.servers.ports import free_port

PASSWORD = "s3cret-word"
ROLES: dict[str, list[Any]] = {
    "nobody": [],
    "reader": ["read"],
    "writer": ["readWrite"],
    "admin": ["readWrite", "dbAdmin"],
    "watcher": ["readWrite", "dbAdmin", {"role": "clusterMonitor", "db": "admin"}],
}


class Standalone:
    """The running server."""

    def __init__(self, port: int) -> None:
        self.port = port

    def uri(self, user: str) -> str:
        """Where `user` logs in; the database is `app`."""
        return f"mongodb://{user}:{PASSWORD}@127.0.0.1:{self.port}/app?authSource=app"


@contextmanager
def standalone_with_users(folder: Path) -> Iterator[Standalone]:
    """A mongod with one user for each of `ROLES`, until the block ends."""
    server = Standalone(free_port())
    command = [
        str(find_mongod()),
        *("--dbpath", str(folder), "--port", str(server.port), "--bind_ip", "127.0.0.1"),
        *("--auth", "--nounixsocket", "--wiredTigerCacheSizeGB", "0.25"),
        *("--setParameter", "diagnosticDataCollectionEnabled=false"),
        *("--logpath", str(folder / "log")),
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, env={**os.environ, "LC_ALL": "C"}
    )
    try:
        _add_users(server)
        yield server
    finally:
        process.kill()
        process.wait()


def _add_users(server: Standalone) -> None:
    # Until there is a user, a connection from localhost may make one: that one then makes the rest.
    address = f"mongodb://127.0.0.1:{server.port}/?serverSelectionTimeoutMS=500"
    deadline = time.monotonic() + 30
    with MongoClient[dict[str, Any]](address) as client:
        while True:
            try:
                client.admin.command("createUser", "root", pwd=PASSWORD, roles=["root"])
            except OperationFailure:
                raise
            except PyMongoError:
                assert time.monotonic() < deadline, "mongod does not answer"
            else:
                break
    root = f"mongodb://root:{PASSWORD}@127.0.0.1:{server.port}/"
    with MongoClient[dict[str, Any]](root) as client:
        for user, roles in ROLES.items():
            client["app"].command("createUser", user, pwd=PASSWORD, roles=roles)
        client["app"]["c"].insert_one({"a": 1})
