"""From a function's arguments to a key: checked once, at decoration."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from symphonia_perf.cache.keys import Template
from symphonia_perf.errors import ConfigurationError

__all__ = ["Arguments", "name_of"]

_EMPTY = inspect.Parameter.empty
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_VARIADIC = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}


def name_of(function: Callable[..., Any]) -> str:
    """A function's full name, for messages; a callable without one is shown as it is."""
    name = getattr(function, "__qualname__", None)
    return f"{function.__module__}.{name}" if name else repr(function)


class Arguments:
    """Makes the key for one call of a function; `f(1)` and `f(plan_id=1)` share it.

    Every parameter that is neither in the template nor ignored on purpose is refused: two calls
    that differ in it would get each other's results.

    Args:
        template: the form of the key; its fields are parameters of the function.
        function: what is called.
        ignore: parameters that do not change the result, such as `self`.

    Raises:
        ConfigurationError: a field or ignored name that is not a parameter, a parameter that is
            neither, `*args` or `**kwargs`.
    """

    def __init__(
        self, template: Template, function: Callable[..., Any], ignore: Iterable[str]
    ) -> None:
        self._template = template
        self._signature = inspect.signature(function)
        parameters = self._signature.parameters
        _check(template, name_of(function), parameters, ignore)
        names = list(parameters)
        self._order = [names.index(field) for field in template.fields]
        self._is_in_order = self._order == list(range(len(names)))
        self._positional = sum(each.kind in _POSITIONAL for each in parameters.values())
        defaults = [each.default for each in parameters.values()]
        self._defaults = tuple(defaults)
        # With so many positional arguments and no others, the rest is defaults.
        self._least = next(
            (n for n in range(len(names) + 1) if _EMPTY not in defaults[n:]), len(names)
        )

    def key(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        """The key for these arguments.

        Raises:
            TypeError: the function does not take them; Python's own message.
            ConfigurationError: one of them cannot be part of a key.
        """
        values: Sequence[Any]
        given = len(args)
        if kwargs or not self._least <= given <= self._positional:
            bound = self._signature.bind(*args, **kwargs)
            bound.apply_defaults()
            values = tuple(bound.arguments.values())
        else:
            values = args + self._defaults[given:]
        if not self._is_in_order:
            values = [values[index] for index in self._order]
        return self._template.fill(values)


def _check(
    template: Template,
    function: str,
    parameters: Mapping[str, inspect.Parameter],
    ignore: Iterable[str],
) -> None:
    if isinstance(ignore, str):
        raise ConfigurationError(f"ignore={ignore!r}: expected a list of names, as in [{ignore!r}]")
    ignored = set(ignore)
    for name in (*template.fields, *sorted(ignored)):
        if name not in parameters:
            near = get_close_matches(name, parameters, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it takes {list(parameters)}"
            where = f"template {template.pattern!r}" if name in template.fields else "ignore"
            raise ConfigurationError(f"{where}: {function} has no parameter {name!r}; {hint}")
    if both := sorted(ignored.intersection(template.fields)):
        raise ConfigurationError(f"ignore={both}: they stand in template {template.pattern!r} too")
    for name, parameter in parameters.items():
        if parameter.kind in _VARIADIC:
            raise ConfigurationError(
                f"{function} takes {_VARIADIC[parameter.kind]}{name}, which has no place in a key;"
                " name its parameters"
            )
        if name not in template.fields and name not in ignored:
            raise ConfigurationError(
                f"{function}: calls that differ in {name!r} would share an entry; put {{{name}}}"
                f" into template {template.pattern!r}, or say ignore=[{name!r}] if the result does"
                " not depend on it"
            )
