"""An interpreter per peer: their pins clash with ours, so each has a virtual environment."""

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

__all__ = ["interpreter"]

PINS = Path(__file__).with_name("peers.txt")
HOMES = Path(tempfile.gettempdir()) / "symphonia-perf-peers"


def interpreter(peer: str) -> Path | str:
    """The Python that can import `peer`, or why there is none.

    The environment is made by pip on the first call and kept for the next.
    """
    pins = next(words for words in map(str.split, _lines()) if words[0].startswith(f"{peer}=="))
    name = "+".join((*pins, f"py{sys.version_info.major}.{sys.version_info.minor}"))
    home = HOMES / name
    python, complete = home / "bin" / "python", home / "complete"
    if complete.exists():
        return python
    venv.create(home, clear=True, with_pip=True)
    words = (str(python), "-m", "pip", "install", "--quiet", "--only-binary=:all:", *pins)
    pip = subprocess.run(words, capture_output=True, text=True, check=False)
    if pip.returncode:
        return f"{' '.join(pins)}: {(pip.stderr.strip() or 'pip failed').splitlines()[-1]}"
    complete.touch()
    return python


def _lines() -> list[str]:
    return [line for line in PINS.read_text().splitlines() if line and not line.startswith("#")]
