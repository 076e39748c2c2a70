"""Runs a benchmark where the peers are: a virtual environment of their own, made by pip once."""

import os
import subprocess
import sys
import tempfile
import venv
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.lines import line

__all__ = ["among_peers", "installed", "skip"]

PINS = Path(__file__).with_name("peers.txt")
ROOT = Path(__file__).parents[2]
REASON = "SYMPHONIA_PEERS_MISSING"


def among_peers() -> None:
    """Return in an interpreter that has them, or here where there is none; see `missing`."""
    name = sha256(PINS.read_bytes() + sys.version.encode()).hexdigest()[:12]
    home = Path(tempfile.gettempdir()) / "symphonia-perf-peers" / f"cache-{name}"
    python, complete = home / "bin" / "python", home / "complete"
    if Path(sys.prefix) == home or REASON in os.environ:
        return
    if not complete.exists():
        venv.create(home, clear=True, with_pip=True)
        words = (str(python), "-m", "pip", "install", "--quiet", "-r", str(PINS))
        pip = subprocess.run(words, capture_output=True, text=True, check=False)
        if pip.returncode:
            # For the processes that this one starts, too.
            os.environ[REASON] = (pip.stderr.strip() or "pip failed").splitlines()[-1]
            return
        complete.touch()
    path = os.pathsep.join((str(ROOT), str(ROOT / "src")))
    words = [str(python), *sys.argv]
    os.execve(python, words, {**os.environ, "PYTHONPATH": path})  # noqa: S606 - as intended


def skip(benchmark: str, *contestants: str) -> bool:
    """Whether the peers cannot run here; then it prints so, a line for each of them."""
    reason = os.environ.get(REASON)
    if reason is None:
        return False
    for each in contestants:
        line(benchmark, contestant=each, skipped=f"cannot be installed here: {reason}")
    return True


def installed(*packages: str) -> tuple[str, ...]:
    """Those of the packages that are there."""
    return tuple(package for package in packages if _is_installed(package))


def _is_installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True
