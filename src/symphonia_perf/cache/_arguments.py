"""From a function's arguments to a key and tags: checked once, at decoration."""

import inspect
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, TypeAlias, Union, get_args, get_origin, get_type_hints

from symphonia_perf.cache._given import checked_function, listed
from symphonia_perf.cache.keys import LONGEST, KeyScheme, Template, can_encode
from symphonia_perf.errors import ConfigurationError

__all__ = ["Arguments", "name_of"]

_EMPTY = inspect.Parameter.empty
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_VARIADIC = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
_REMEMBERED = 1_024
_Place: TypeAlias = tuple[str, tuple[str, ...]]


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
        scheme: where the cache's keys live.

    Attributes:
        place: gives the key and the tags for a call's `args` and `kwargs`, as the store has them.
            It raises TypeError, Python's own, where the function does not take them, and
            ConfigurationError where one of them cannot be part of a key.

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
        scheme: KeyScheme = KeyScheme(),  # noqa: B008 - a frozen value
    ) -> None:
        self._template = template
        self._tags = tags
        self._start, self._tag_start = scheme.start, scheme.tags
        self._compute = key
        if key is not None:
            checked_function("key", key, "a function of some of the parameters, or None")
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
        # None: of that name no keyword is taken.
        only = inspect.Parameter.POSITIONAL_ONLY
        self._named = [
            (None if each.kind is only else name, each.default) for name, each in parameters.items()
        ]
        # With so many positional arguments and no others, the rest is defaults.
        self._least = next(
            (n for n in range(len(names) + 1) if _EMPTY not in defaults[n:]), len(names)
        )
        # A key function may look at more than arguments, such as the tenant of this request: what
        # it gave last time says nothing.
        self.place: Callable[[tuple[Any, ...], Mapping[str, Any]], _Place] = (
            self._remembered if key is None else self._computed
        )
        # Most calls are of few values over and over, and building a key takes as long as a hit.
        self._recent: dict[tuple[Any, ...], _Place] = {}  # by positional arguments
        self._recent_named: dict[tuple[Any, ...], _Place] = {}  # by the values of all parameters
        ignored = set(ignore).difference(*(tag.fields for tag in tags))
        self._ignored = next((n for n, name in enumerate(names) if name not in ignored), len(names))

    def key(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        """The key for these arguments, without the cache's prefix; raises as `place` does."""
        return self._key(self._values(args, kwargs))

    def _computed(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> _Place:
        return self._place(self._values(args, kwargs))

    def _remembered(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> _Place:
        recent, known = self._recent, args
        if kwargs:
            recent, known = self._recent_named, self._values(args, kwargs)
        if self._ignored:
            known = known[self._ignored :]
        # 1, 1.0 and True are one key of a dict; a loop takes half as long as a set of the types.
        for value in known:
            kind = type(value)
            if kind is not str and kind is not int:
                return self._place(self._values(args, kwargs))
        place = recent.get(known)
        if place is None:
            place = self._place(self._values(args, kwargs))
            if len(recent) >= _REMEMBERED:
                recent.clear()
            if all(type(value) is int or len(value) <= LONGEST for value in known):
                recent[known] = place
        return place

    def _place(self, values: tuple[Any, ...]) -> _Place:
        if not self._tags:
            return self._start + self._key(values), ()
        fields = self._fields(values)
        key = self._start + _filled(self._template, fields)
        tags = (self._tag_start + _filled(tag, fields) for tag in self._tags)
        return key, tuple(dict.fromkeys(tags))

    def _key(self, values: Sequence[Any]) -> str:
        if self._compute is not None:
            return _filled(self._template, self._fields(values))
        if not self._is_in_order:
            values = [values[index] for index in self._order]
        return self._template.fill(values)

    def _values(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
        """The value of each parameter."""
        given = len(args)
        if not kwargs and self._least <= given <= self._positional:
            return args + self._defaults[given:]
        # As Signature.bind does, in a tenth of its 6 us; what this cannot do, that explains. It
        # would do nothing more: `*args` and `**kwargs` were refused.
        values, taken = list(args), 0
        for name, default in self._named[given:]:
            if name is not None and name in kwargs:
                values.append(kwargs[name])
                taken += 1
            elif default is not _EMPTY:
                values.append(default)
        if taken == len(kwargs) and len(values) == len(self._named) and given <= self._positional:
            return tuple(values)
        return self._signature.bind(*args, **kwargs).args  # it raises

    def _fields(self, values: Sequence[Any]) -> dict[str, object]:
        fields: dict[str, object] = dict(zip(self._signature.parameters, values, strict=True))
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


def _filled(template: Template, fields: Mapping[str, object]) -> str:
    return template.fill([fields[name] for name in template.fields])


def _check(
    templates: Sequence[Template],
    function: Callable[..., Any],
    parameters: Mapping[str, inspect.Parameter],
    ignore: Iterable[str],
    *,
    taken: Sequence[str],
    computes: bool,
) -> None:
    template, name = templates[0], name_of(function)
    ignored = set(listed("ignore", ignore, of="names"))
    wanted = [(field, "ignore") for field in sorted(ignored, key=str)]
    wanted += [(field, "key") for field in taken]
    for each in templates:
        wanted += [(f, f"template {each.pattern!r}") for f in each.fields if not computes]
    for field, where in wanted:
        if field not in parameters:
            near = get_close_matches(str(field), parameters, n=1)
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
