"""Settings from environment variables: the fields of an options dataclass, by prefix."""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields
from datetime import timedelta
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from symphonia_perf._core.durations import parse_duration
from symphonia_perf.errors import ConfigurationError

__all__ = ["from_environ", "nearest", "variable_names"]

_TRUTH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_READABLE = {bool, int, float, timedelta, str, tuple, Literal, NoneType}
_WHOLE = re.compile(r"-?\d{1,18}", re.ASCII)
_DECIMAL = re.compile(r"-?\d{1,18}(?:\.\d{1,18})?", re.ASCII)


def from_environ(
    kind: type[Any],
    environ: Mapping[str, str],
    *,
    prefix: str,
    names: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The fields of the dataclass `kind` that the environment sets, ready for its constructor.

    A field is read according to its annotation: `bool` from true, 1, yes, false, 0, no; `int`;
    `float`; `Seconds` from `30s`, `15m` or `250ms`, a bare number being seconds; `tuple[str, ...]`
    from words between commas, `none` being the empty one; `None`, where allowed, from `none`. All
    other text is left to the constructor. An empty variable counts as not set: shells, Compose
    files and Kubernetes cannot always leave one out.

    ```python
    from dataclasses import dataclass
    from symphonia_perf._core.env import from_environ

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Options:
        size: int = 10
        secure: bool = False

    assert Options(**from_environ(Options, {"APP_SIZE": "20"}, prefix="APP_")) == Options(size=20)
    ```

    Args:
        kind: the options dataclass.
        environ: usually `os.environ`.
        prefix: what the variables begin with, for example `REDIS_`.
        names: field -> variable name without prefix, where it is not the field in upper case.

    Raises:
        ConfigurationError: a value cannot be read, or a variable with this prefix looks like a
            misspelt one of ours. The message names the variable.
    """
    variables = variable_names(kind, prefix=prefix, names=names)
    _refuse_lookalikes(environ, prefix, variables)
    hints = get_type_hints(kind)
    return {
        field: _read(text, _kinds(hints[field]), variable)
        for field, variable in variables.items()
        if (text := environ.get(variable, "").strip())
    }


def variable_names(
    kind: type[Any], *, prefix: str, names: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Field -> environment variable, for the fields of `kind` whose type has a text form."""
    hints = get_type_hints(kind)
    return {
        field.name: prefix + (names or {}).get(field.name, field.name.upper())
        for field in fields(kind)
        if _kinds(hints[field.name]) <= _READABLE
    }


def nearest(word: str, words: Iterable[str], *, likeness: float = 0.6) -> str | None:
    """The one of `words` that `word` was probably meant to be, whatever its case."""
    spelling = {candidate.casefold(): candidate for candidate in words}
    # The comparison is quadratic, and nobody misspells a name at more than this length.
    found = difflib.get_close_matches(word[:80].casefold(), spelling, n=1, cutoff=likeness)
    return spelling[found[0]] if found else None


def _refuse_lookalikes(environ: Mapping[str, str], prefix: str, ours: Mapping[str, str]) -> None:
    """Kubernetes and images set names such as MONGODB_PORT or MONGODB_NAME: those may stand."""
    by_field = {field.upper(): variable for field, variable in ours.items()}
    suffixes = {variable.removeprefix(prefix): variable for variable in ours.values()}
    for variable in environ:
        suffix = variable.removeprefix(prefix)
        if not variable.startswith(prefix) or suffix in suffixes:
            continue
        alike = (name for name in suffixes if name[:1] == suffix[:1])
        near = nearest(suffix, suffixes, likeness=0.75) or nearest(suffix, alike, likeness=0.66)
        if meant := by_field.get(suffix) or (near and suffixes[near]):
            raise ConfigurationError(f"{variable}: unknown variable; did you mean {meant}?")


def _kinds(hint: Any) -> set[Any]:
    """The types that the annotation `hint` allows, without their parameters."""
    union = get_origin(hint) in {Union, UnionType}
    return {get_origin(kind) or kind for kind in (get_args(hint) if union else (hint,))}


def _read(text: str, kinds: set[Any], variable: str) -> Any:
    if NoneType in kinds and text.lower() == "none":
        return None
    if timedelta in kinds:
        return parse_duration(text, option=variable)
    if tuple in kinds:
        return () if text.lower() == "none" else tuple(map(str.strip, text.split(",")))
    if bool in kinds:
        return _boolean(text, variable)
    if int in kinds and _WHOLE.fullmatch(text):
        return int(text)
    if float in kinds and _DECIMAL.fullmatch(text):
        return float(text)
    if kinds & {int, float} and str not in kinds:
        wanted = "a number" if float in kinds else "a whole number"
        raise ConfigurationError(f"{variable}={text!r}: expected {wanted}")
    return text


def _boolean(text: str, variable: str) -> bool:
    try:
        return _TRUTH[text.lower()]
    except KeyError:
        raise ConfigurationError(
            f"{variable}={text!r}: expected true, 1, yes, false, 0 or no"
        ) from None
