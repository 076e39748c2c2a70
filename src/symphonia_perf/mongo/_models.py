"""The fields of a model as dotted paths, read by duck typing: no model library is imported."""

import dataclasses
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from symphonia_perf.errors import ProjectionError

__all__ = ["model_paths"]


def model_paths(model: Any) -> list[str] | None:
    """The paths that `model` is filled from, None when it is no model.

    Read are `model_fields` as pydantic has them (with their aliases), dataclasses and TypedDicts.
    Models in optional and list fields become paths into them. A field that can also hold something
    else than a model is returned whole; so is a model inside itself, because a projection cannot
    follow it.

    Raises:
        ProjectionError: an annotation or an alias cannot be read.
    """
    return None if _fields(model) is None else list(dict.fromkeys(_walk(model, (model,))))


def _walk(model: Any, inside: tuple[Any, ...]) -> Iterator[str]:
    for name, annotation in _fields(model) or ():
        models = _models(annotation)
        if not models or any(inner in inside for inner in models):
            yield name
        else:
            for inner in models:
                yield from (f"{name}.{path}" for path in _walk(inner, (*inside, inner)))


def _fields(model: Any) -> Iterable[tuple[str, Any]] | None:
    """Name and type of each field; None for what is no model."""
    if not isinstance(model, type):
        return None
    declared = getattr(model, "model_fields", None)
    if isinstance(declared, Mapping):
        if getattr(model, "__pydantic_root_model__", False):
            inner = _models(declared["root"].annotation)
            return [pair for each in inner for pair in _fields(each) or ()] or None
        return [(_alias(model, name, field), field.annotation) for name, field in declared.items()]
    if dataclasses.is_dataclass(model):
        hints = _hints(model)
        return [(field.name, hints[field.name]) for field in dataclasses.fields(model)]
    # TypedDict, of typing and of typing_extensions. Other annotated classes may well be values.
    return _hints(model).items() if hasattr(model, "__required_keys__") else None


def _alias(model: type, name: str, field: Any) -> str:
    """The name in the document: pydantic's `validation_alias`, which `alias` fills in too."""
    alias = getattr(field, "validation_alias", None) or getattr(field, "alias", None) or name
    if not isinstance(alias, str):
        raise ProjectionError(
            f"{model.__name__}.{name}: the alias {alias!r} is not one name; name the fields instead"
        )
    return alias


def _hints(model: type) -> dict[str, Any]:
    try:
        return get_type_hints(model)
    except (NameError, TypeError, SyntaxError) as error:
        raise ProjectionError(
            f"{model.__name__}: its annotations cannot be read ({error}); import their types at "
            "run time, or name the fields instead"
        ) from error


def _models(annotation: Any) -> list[Any]:
    """The models that all of a field's values are made of; empty where one may be something else.

    `list[Place | None] | None` gives `Place`; `Place | str` and `dict[str, Place]` give nothing.
    """
    origin = get_origin(annotation)
    if origin is Annotated:
        return _models(get_args(annotation)[0])
    if origin in (Union, types.UnionType) or _is_list(origin):
        parts = [part for part in get_args(annotation) if part not in (types.NoneType, ...)]
        found = [_models(part) for part in parts]
        return [model for models in found for model in models] if all(found) else []
    model = origin or annotation  # Box[int] has the fields of Box
    return [model] if _fields(model) else []


def _is_list(origin: Any) -> bool:
    return (
        isinstance(origin, type)
        and issubclass(origin, Iterable)
        and not issubclass(origin, Mapping)
        and not _fields(origin)
    )
