"""From a function's arguments to a key and tags: checked once, at decoration."""

import inspect
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Union, get_args, get_origin, get_type_hints

from symphonia_perf.cache.keys import LONGEST, Template, can_encode
from symphonia_perf.errors import ConfigurationError

__all__ = ["Arguments", "name_of"]

_EMPTY = inspect.Parameter.empty
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_VARIADIC = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
_PLAIN = frozenset({str, int})
_REMEMBERED = 1_024


def name_of(function: Callable[..., Any]) -> str:
    """A function's full name, for messages; a callable without one is shown as it is."""
    name = getattr(function, "__qualname__", None)
    return f"{function.__module__}.{name}" if name else repr(function)


class Arguments:
    """Makes the key and the tags for one call; `f(1)` and `f(plan_id=1)` share them.

    Every parameter that is neither in the template nor ignored on purpose is refused: two calls
    that differ in it would get each other's results.

    Args:
        template: the form of the key; its fields are parameters of the function.
        function: what is called.
        ignore: parameters that do not change the result, such as `self`.
        tags: templates of tags, of the same fields.
        key: takes some of the function's parameters and gives the fields that are none of them.

    Raises:
        ConfigurationError: a field or ignored name that is not a parameter, a parameter that is
            neither, one whose type has no place in a key, `*args` or `**kwargs`.
    """

    def __init__(
        self,
        template: Template,
        function: Callable[..., Any],
        ignore: Iterable[str],
        *,
        tags: Sequence[Template] = (),
        key: Callable[..., Mapping[str, object]] | None = None,
    ) -> None:
        self._template = template
        self._tags = tags
        self.has_tags = bool(tags)
        self._compute = key
        self._signature = inspect.signature(function)
        parameters = self._signature.parameters
        self._taken = () if key is None else tuple(inspect.signature(key).parameters)
        _check(
            [template, *tags], function, parameters, ignore, taken=self._taken, computes=bool(key)
        )
        names = list(parameters)
        self._order = [names.index(f) for f in template.fields if f in parameters]
        self._is_in_order = self._order == list(range(len(names)))
        self._positional = sum(each.kind in _POSITIONAL for each in parameters.values())
        defaults = [each.default for each in parameters.values()]
        self._defaults = tuple(defaults)
        # With so many positional arguments and no others, the rest is defaults.
        self._least = next(
            (n for n in range(len(names) + 1) if _EMPTY not in defaults[n:]), len(names)
        )
        # Most calls are of few values over and over, and building a key takes as long as a hit.
        self._recent: dict[tuple[Any, ...], str] = {}
        self._ignored = next((n for n, name in enumerate(names) if name not in ignore), len(names))

    def key(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        """The key for these arguments.

        Raises:
            TypeError: the function does not take them; Python's own message.
            ConfigurationError: one of them cannot be part of a key.
        """
        values = args[self._ignored :] if self._ignored else args
        # Not with other types: 1, 1.0 and True are one key of a dict.
        if kwargs or not _PLAIN.issuperset(map(type, values)):
            return self._key(args, kwargs)
        key = self._recent.get(values)
        if key is None:
            key = self._key(args, kwargs)
            if len(self._recent) >= _REMEMBERED:
                self._recent.clear()
            if all(type(value) is int or len(value) <= LONGEST for value in values):
                self._recent[values] = key
        return key

    def tags(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[str]:
        """The tags for these arguments; raises as `key` does."""
        fields = self._fields(args, kwargs)
        return [tag.fill([fields[name] for name in tag.fields]) for tag in self._tags]

    def _key(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        if self._compute is not None:
            fields = self._fields(args, kwargs)
            return self._template.fill([fields[name] for name in self._template.fields])
        values: Sequence[Any] = self._values(args, kwargs)
        if not self._is_in_order:
            values = [values[index] for index in self._order]
        return self._template.fill(values)

    def _values(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
        given = len(args)
        if kwargs or not self._least <= given <= self._positional:
            bound = self._signature.bind(*args, **kwargs)
            bound.apply_defaults()
            return tuple(bound.arguments.values())
        return args + self._defaults[given:]

    def _fields(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, object]:
        fields: dict[str, object] = dict(
            zip(self._signature.parameters, self._values(args, kwargs), strict=True)
        )
        if self._compute is not None:
            computed = self._compute(**{name: fields[name] for name in self._taken})
            if not isinstance(computed, Mapping):
                raise ConfigurationError(
                    f"key={name_of(self._compute)} returned a {type(computed).__name__}; expected"
                    " a dict of the template's fields"
                )
            fields.update(computed)
            for template in (self._template, *self._tags):
                for field in template.fields:
                    if field not in fields:
                        raise ConfigurationError(
                            f"template {template.pattern!r}: neither a parameter nor key= gives"
                            f" {field!r}"
                        )
        return fields


def _check(
    templates: Sequence[Template],
    function: Callable[..., Any],
    parameters: Mapping[str, inspect.Parameter],
    ignore: Iterable[str],
    *,
    taken: Sequence[str],
    computes: bool,
) -> None:
    if isinstance(ignore, str):
        raise ConfigurationError(f"ignore={ignore!r}: expected a list of names, as in [{ignore!r}]")
    template, name, ignored = templates[0], name_of(function), set(ignore)
    wanted = [(field, "ignore") for field in sorted(ignored)]
    wanted += [(field, "key") for field in taken]
    for each in templates:
        wanted += [(f, f"template {each.pattern!r}") for f in each.fields if not computes]
    for field, where in wanted:
        if field not in parameters:
            near = get_close_matches(field, parameters, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it takes {list(parameters)}"
            raise ConfigurationError(f"{where}: {name} has no parameter {field!r}; {hint}")
    if both := sorted(ignored.intersection(template.fields)):
        raise ConfigurationError(f"ignore={both}: they stand in template {template.pattern!r} too")
    for parameter in parameters.values():
        _check_parameter(parameter, template, name, {*template.fields, *ignored, *taken})
    _check_types(template, function, parameters, name)


def _check_parameter(
    parameter: inspect.Parameter, template: Template, function: str, used: set[str]
) -> None:
    name = parameter.name
    if parameter.kind in _VARIADIC:
        raise ConfigurationError(
            f"{function} takes {_VARIADIC[parameter.kind]}{name}, which has no place in a key;"
            " name its parameters"
        )
    if name not in used:
        raise ConfigurationError(
            f"{function}: calls that differ in {name!r} would share an entry; put {{{name}}}"
            f" into template {template.pattern!r}, or say ignore=[{name!r}] if the result does"
            " not depend on it"
        )


def _check_types(
    template: Template,
    function: Callable[..., Any],
    parameters: Mapping[str, inspect.Parameter],
    name: str,
) -> None:
    """Refuse a parameter whose annotation says that no argument could be part of a key."""
    try:
        hints = get_type_hints(function)
    except Exception:  # noqa: BLE001 - names that are not there yet; each call is checked anyway
        return
    for field in template.fields:
        hint = hints.get(field, Any)
        if field in parameters and not any(can_encode(kind) for kind in _classes(hint)):
            raise ConfigurationError(
                f"{name}: {field!r} is a {hint!r}, which has no place in a key; give the fields by"
                " key=, as in key=lambda order: {'order_id': order['_id']}"
            )


def _classes(hint: Any) -> list[type]:
    """The classes that an annotation allows; `object` where it says nothing of that kind."""
    origin = get_origin(hint)
    if origin in {Union, types.UnionType}:
        return [kind for each in get_args(hint) for kind in _classes(each)]
    kind = hint if origin is None else origin
    # Python 3.11 made Any a class.
    return [kind] if isinstance(kind, type) and kind is not Any else [object]
