"""Where the command begins and ends: exit codes, and errors as one sentence.

| exit code | meaning |
| --- | --- |
| 0 | clean, or done |
| 1 | an error; the sentence on stderr says which |
| 2 | drift: something is to be done, another plan wins, an index is unused |
"""

import json
import sys
from collections.abc import Sequence
from typing import NoReturn

from symphonia_perf._core.lazy import missing_extra
from symphonia_perf.errors import MongoOperationError, SymphoniaError

__all__ = ["main", "run"]

_ERROR = 1
_STOPPED = 130  # as a shell counts Ctrl-C


def main() -> NoReturn:
    """Run the command with the arguments of this process, and end it."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """The exit code of the command with these arguments; writes to stdout and stderr."""
    try:
        from symphonia_perf.cli.program import invoke  # noqa: PLC0415 - it needs an extra

        return invoke(arguments)
    except ModuleNotFoundError as error:
        clear = missing_extra(error)
        if clear is None:
            raise
        return _failed(clear, arguments)
    except SymphoniaError as error:
        return _failed(error, arguments)
    except KeyboardInterrupt:
        sys.stderr.write("Stopped. An index build that has begun goes on on the server.\n")
        return _STOPPED


def _failed(error: SymphoniaError, arguments: Sequence[str]) -> int:
    # What the driver knows of each server follows in angle brackets, and helps nobody here.
    sentence = str(error).partition(", Topology Description")[0]
    if "--json" in arguments:
        code = error.code if isinstance(error, MongoOperationError) else None
        sys.stdout.write(json.dumps({"error": sentence, "code": code}) + "\n")
    sys.stderr.write(f"Error: {sentence}\n")
    return _ERROR
