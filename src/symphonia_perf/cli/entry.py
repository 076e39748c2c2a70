"""Where the command begins and ends: exit codes, and errors as one sentence.

| exit code | meaning |
| --- | --- |
| 0 | clean, or done |
| 1 | an error; the sentence on stderr says which |
| 2 | drift: something is to be done, another plan wins, an index is unused |
"""

import json
import re
import sys
from collections.abc import Sequence
from typing import NoReturn, TextIO

from symphonia_perf._core.lazy import missing_extra
from symphonia_perf.errors import MongoOperationError, SymphoniaError

__all__ = ["main", "run"]

_ERROR = 1
_STOPPED = 130  # as a shell counts Ctrl-C
_PASSWORD = re.compile(r"(?<=//)([^\s:@/]*):[^\s@/]*@")  # a user's own module may say its URI


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
    except OSError as error:  # a full disk behind the redirection; click ends a closed pipe itself
        _write(sys.stderr, f"Error: cannot write: {error}")
        return _ERROR
    except KeyboardInterrupt:
        _tell("Stopped", "a build that has begun goes on on the server", None, arguments)
        return _STOPPED


def _failed(error: SymphoniaError, arguments: Sequence[str]) -> int:
    code = error.code if isinstance(error, MongoOperationError) else None
    _tell("Error", str(error), code, arguments)
    return _ERROR


def _tell(kind: str, sentence: str, code: int | None, arguments: Sequence[str]) -> None:
    """One line on stderr, and one document on stdout for who asked for it; without passwords."""
    line = _PASSWORD.sub(r"\1:***@", " ".join(sentence.split()))
    if "--json" in arguments:
        _write(sys.stdout, json.dumps({"error": line, "code": code}))
    _write(sys.stderr, f"{kind}: {line}")


def _write(stream: TextIO | None, line: str) -> None:
    if stream is not None:  # it was not closed with `>&-`
        stream.write(f"{line}\n")
