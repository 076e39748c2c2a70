"""What every benchmark script shares: one JSON line per figure, with the versions behind it."""

import json
import os
import platform
import sys
from importlib.metadata import version
from typing import Any


def line(benchmark: str, *packages: str, **figures: Any) -> None:
    """Print one result, with Python's and the packages' versions."""
    record = {
        "benchmark": benchmark,
        **figures,
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "versions": {name: version(name) for name in packages},
    }
    sys.stdout.write(json.dumps(record) + "\n")
    sys.stdout.flush()
