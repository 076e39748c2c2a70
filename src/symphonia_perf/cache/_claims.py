"""Which function has which template, so that no two get each other's results."""

from collections.abc import Callable
from typing import Any, NamedTuple

from symphonia_perf.cache._arguments import name_of
from symphonia_perf.cache.keys import Template
from symphonia_perf.errors import ConfigurationError

__all__ = ["Claims"]


class _Claim(NamedTuple):
    template: Template
    function: Callable[..., Any]
    owner: str


class Claims:
    """The templates of one cache's functions."""

    def __init__(self) -> None:
        self._claims: list[_Claim] = []

    @property
    def templates(self) -> list[Template]:
        """All of them."""
        return [claim.template for claim in self._claims]

    def claim(self, template: Template, function: Callable[..., Any]) -> None:
        """Keep the template for this function.

        Raises:
            ConfigurationError: another function has one that can make the same key.
        """
        owner, others = name_of(function), []
        for other in self._claims:
            again = other.owner == owner and _is_made_again(function, other.function)
            if not again and template.overlaps(other.template):
                hint = ": put what they differ in into the templates"
                raise ConfigurationError(
                    f"template {template.pattern!r} of {owner} can make the same key as"
                    f" {other.template.pattern!r} of {other.owner}: they would get each other's"
                    f" results{hint if other.owner == owner else ''}"
                )
            if not again or other.template.pattern != template.pattern:
                others.append(other)
        self._claims = [*others, _Claim(template, function, owner)]


def _is_made_again(function: Callable[..., Any], other: Callable[..., Any]) -> bool:
    """Whether it takes the place of another of its name, as when a module is reloaded.

    What a function makes, or a lambda, is beside the other: it takes its place only where they
    cannot differ, which is when they close over nothing and have the same code. Methods of two
    objects are two.
    """
    if getattr(function, "__self__", None) is not getattr(other, "__self__", None):
        return False
    if "<" not in getattr(function, "__qualname__", "<"):  # neither of <locals> nor a <lambda>
        return True
    code = getattr(function, "__code__", None)
    closure = getattr(function, "__closure__", None)
    return function is other or (
        code is not None and not closure and code == getattr(other, "__code__", None)
    )
