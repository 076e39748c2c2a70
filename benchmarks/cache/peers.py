"""Runs a benchmark where the peers are: a virtual environment of their own, made by pip once."""

import os
import subprocess
import sys
import tempfile
import venv
from hashlib import sha256
from pathlib import Path

__all__ = ["among_peers"]

PINS = Path(__file__).with_name("peers.txt")
ROOT = Path(__file__).parents[2]


def among_peers() -> None:
    """Return in an interpreter that has them, or end with a line that says why there is none."""
    name = sha256(PINS.read_bytes() + sys.version.encode()).hexdigest()[:12]
    home = Path(tempfile.gettempdir()) / "symphonia-perf-peers" / f"cache-{name}"
    python, complete = home / "bin" / "python", home / "complete"
    if Path(sys.prefix) == home:
        return
    if not complete.exists():
        venv.create(home, clear=True, with_pip=True)
        words = (str(python), "-m", "pip", "install", "--quiet", "-r", str(PINS))
        pip = subprocess.run(words, capture_output=True, text=True, check=False)
        if pip.returncode:
            reason = (pip.stderr.strip() or "pip failed").splitlines()[-1]
            raise SystemExit(f"skipped: the peers cannot be installed here: {reason}")
        complete.touch()
    path = os.pathsep.join((str(ROOT), str(ROOT / "src")))
    words = [str(python), *sys.argv]
    os.execve(python, words, {**os.environ, "PYTHONPATH": path})  # noqa: S606 - as intended
