"""What a change makes wrong: events of the business to keys, tags and patterns. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from symphonia_perf.cache._given import listed
from symphonia_perf.cache.keys import Template, encode
from symphonia_perf.errors import ConfigurationError

__all__ = ["Effects", "InvalidationRules", "Rule", "on"]

_FIELD = re.compile(r"\{([^{}]*)\}")
# What a pattern may hold besides fields: everything that a key holds literally, and the star.
_LITERAL = re.compile(r"[A-Za-z0-9_.:?&=~*-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """What goes for one event; all without the cache's prefix."""

    delete: Sequence[str] = ()  # keys
    tags: Sequence[str] = ()
    match: Sequence[str] = ()  # Redis globs


class _Pattern:
    """A glob with fields: their values are taken literally, and a star is any text."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        if not _is_text(pattern):
            raise ConfigurationError(f"match={pattern!r}: expected a pattern as 'carriers:list*'")
        *pieces, end = _FIELD.split(pattern)
        self._pieces = [*zip(pieces[::2], pieces[1::2], strict=True)]
        self._end = end
        self.fields = tuple(field for _, field in self._pieces)
        for literal in (*(before for before, _ in self._pieces), end):
            if not _LITERAL.fullmatch(literal):
                raise ConfigurationError(
                    f"match={pattern!r}: {literal!r} is not of letters, digits, _ . - : ? & = ~ *"
                    " and {fields}"
                )
        if not all(field.isidentifier() for field in self.fields):
            raise ConfigurationError(f"match={pattern!r}: a field is not the name of one")
        if (self._pieces[0][0] if self._pieces else end)[:1] in {"", "*"}:
            raise ConfigurationError(f"match={pattern!r}: begins with no resource to stay within")

    def fill(self, values: Mapping[str, object]) -> str:
        # A query begins with "?", which a glob would take for any character.
        texts = [
            before.replace("?", "\\?") + encode(values[field]) for before, field in self._pieces
        ]
        return "".join(texts) + self._end.replace("?", "\\?")


@dataclass(frozen=True, slots=True)
class Rule:
    """What one kind of event makes wrong; made by `on`."""

    event: str
    delete: tuple[Template, ...]
    tags: tuple[Template, ...]
    match: tuple[_Pattern, ...]

    @property
    def fields(self) -> frozenset[str]:
        """What the event must tell."""
        texts: tuple[Template | _Pattern, ...] = (*self.delete, *self.tags, *self.match)
        return frozenset(field for each in texts for field in each.fields)


def on(
    event: str,
    *,
    delete: Iterable[str] = (),
    tags: Iterable[str] = (),
    match: Iterable[str] = (),
) -> Rule:
    """A rule: when this happens, these entries are wrong.

    Fields are named by the event. They need not be called as the cached function's parameters are:
    keys agree by their shape.

    Args:
        event: its name, as in `carrier.changed`.
        delete: templates of keys, as in `carrier:{id}`.
        tags: templates of tags to bump, as in `carriers`.
        match: patterns, as in `carriers:list*`. This walks through every key of the store: prefer a
            tag for what happens often.

    Raises:
        ConfigurationError: a name or template that cannot work.
    """
    if not _is_text(event):
        raise ConfigurationError(f"event={event!r}: expected a name such as 'carrier.changed'")
    for option, texts in (("delete", delete), ("tags", tags), ("match", match)):
        listed(option, texts, of="patterns" if option == "match" else "templates")
    return Rule(
        event,
        tuple(Template(each) for each in delete),
        tuple(Template(each) for each in tags),
        tuple(_Pattern(each) for each in match),
    )


class InvalidationRules:
    """What each event makes wrong, in one place instead of at every write.

    ```python
    from symphonia_perf.cache import Cache, InvalidationRules, MemoryCacheStore, on

    rules = InvalidationRules(
        on("plan.changed", delete=["plans:list", "plan:{id}"]),
        on("carrier.changed", delete=["carrier:{id}"], tags=["carriers"]),
    )
    cache = Cache(MemoryCacheStore(), rules=rules)

    async with cache:
        await cache.set("plan:12345", {"price": 30})
        await cache.changed("plan.changed", id=12345)
        assert await cache.get("plan:12345") is None
    ```

    Raises:
        ConfigurationError: something that was not made by `on`.
    """

    def __init__(self, *rules: Rule) -> None:
        self._rules: dict[str, list[Rule]] = {}
        for rule in rules:
            if not isinstance(rule, Rule):
                raise ConfigurationError(f"{rule!r} is no rule; write on('carrier.changed', ...)")
            self._rules.setdefault(rule.event, []).append(rule)

    @property
    def events(self) -> tuple[str, ...]:
        """The events that have rules."""
        return tuple(self._rules)

    def fields(self, event: str) -> frozenset[str]:
        """What an event must tell.

        Raises:
            ConfigurationError: no rule is about it.
        """
        return frozenset(field for rule in self._of(event) for field in rule.fields)

    def described(self, event: str) -> tuple[str, ...]:
        """What its rules say, so that two sets of rules can be told apart.

        Raises:
            ConfigurationError: no rule is about it.
        """
        return tuple(
            f"{kind} {each.pattern}"
            for rule in self._of(event)
            for kind, group in (("delete", rule.delete), ("tag", rule.tags), ("match", rule.match))
            for each in group
        )

    def effects(self, event: str, fields: Mapping[str, object], *, partly: bool = False) -> Effects:
        """What goes when this has happened; partly: as far as the fields tell.

        Raises:
            ConfigurationError: no rule is about it, a field is missing or unknown, or its value
                cannot be part of a key.
        """
        wanted = self.fields(event)
        if fields.keys() - wanted or (not partly and wanted - fields.keys()):
            raise ConfigurationError(
                f"event {event!r} tells {sorted(wanted)}, not {sorted(fields)}"
            )
        rules = self._of(event)
        return Effects(
            delete=_unique(_filled(e, fields) for r in rules for e in r.delete if _told(e, fields)),
            tags=_unique(_filled(e, fields) for r in rules for e in r.tags if _told(e, fields)),
            match=_unique(e.fill(fields) for r in rules for e in r.match if _told(e, fields)),
        )

    def check(self, templates: Iterable[Template]) -> None:
        """Return if every deleted key of a resource in use can be one of its templates'.

        A resource that no template has may be used by hand (`cache.get_or_load`), so that is
        nobody's mistake as far as one can see.

        Raises:
            ConfigurationError: a rule deletes what nothing makes; names both.
        """
        used: dict[str, list[Template]] = {}
        for template in templates:
            used.setdefault(template.resource, []).append(template)
        for rule in (rule for rules in self._rules.values() for rule in rules):
            for each in rule.delete:
                others = used.get(each.resource)
                if others and not any(each.overlaps(other) for other in others):
                    raise ConfigurationError(
                        f"rule {rule.event!r} deletes {each.pattern!r}, and no function makes such"
                        f" a key; of {each.resource!r} there is"
                        f" {[other.pattern for other in others]}"
                    )

    def _of(self, event: str) -> list[Rule]:
        rules = self._rules.get(event) if _is_text(event) else None
        if rules is None:
            near = get_close_matches(str(event), self._rules, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {list(self._rules)}"
            raise ConfigurationError(f"no rule is about event {event!r}; {hint}")
        return rules


def _filled(template: Template, fields: Mapping[str, object]) -> str:
    return template.fill([fields[name] for name in template.fields])


def _told(text: Template | _Pattern, fields: Mapping[str, object]) -> bool:
    return fields.keys() >= set(text.fields)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _unique(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))
