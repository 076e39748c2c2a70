from typing import Any

import pytest

from symphonia_perf.cache import InvalidationRules, Template, on
from symphonia_perf.cache.rules import Effects
from symphonia_perf.errors import ConfigurationError

RULES = InvalidationRules(
    on("plan.changed", delete=["plans:list", "plan:{id}"]),
    on("carrier.changed", delete=["carrier:{id}"], tags=["carriers"]),
    on("carrier.changed", tags=["carriers", "country:{country}"]),
    on("user.changed", delete=["user:{id}"], match=["orders:list:{id}*", "a:?b={id}*c"]),
    on("order.changed"),
)


def test_an_event_is_keys_tags_and_patterns() -> None:
    assert RULES.effects("plan.changed", {"id": 12345}) == Effects(
        delete=("plans:list", "plan:12345")
    )
    assert RULES.effects("carrier.changed", {"id": "x", "country": "FR"}) == Effects(
        delete=("carrier:x",), tags=("carriers", "country:FR")
    )
    assert RULES.effects("order.changed", {}) == Effects()
    assert RULES.events == ("plan.changed", "carrier.changed", "user.changed", "order.changed")


def test_an_event_that_is_known_in_part_does_what_that_part_says() -> None:
    rules = InvalidationRules(
        on("a", delete=["one:{id}", "two:{id}:{kind}"], tags=["all", "t:{kind}"], match=["m:{id}*"])
    )
    told = Effects(delete=("one:7",), tags=("all",), match=("m:7*",))
    assert rules.effects("a", {"id": 7}, partly=True) == told
    assert rules.effects("a", {}, partly=True) == Effects(tags=("all",))
    with pytest.raises(ConfigurationError, match=r"tells \['id', 'kind'\], not \['ids'\]"):
        rules.effects("a", {"ids": 7}, partly=True)


def test_values_bring_no_pattern_along() -> None:
    effects = RULES.effects("user.changed", {"id": "*:?[a]"})
    assert effects.delete == ("user:%2A%3A%3F%5Ba%5D",)
    assert effects.match == ("orders:list:%2A%3A%3F%5Ba%5D*", r"a:\?b=%2A%3A%3F%5Ba%5D*c")


@pytest.mark.parametrize(
    ("event", "fields", "message"),
    [
        ("plan.change", {}, r"no rule is about event 'plan.change'; did you mean 'plan.changed'\?"),
        ("zzz", {}, r"there are \['plan.changed'"),
        ("plan.changed", {}, r"event 'plan.changed' tells \['id'\], not \[\]"),
        ("plan.changed", {"id": 1, "x": 2}, r"not \['id', 'x'\]"),
        ("plan.changed", {"id": [1]}, "cannot be part of a key"),
    ],
)
def test_an_event_that_does_not_fit_is_refused(
    event: str, fields: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        RULES.effects(event, fields)


def test_a_rule_must_fit_the_templates_in_use() -> None:
    used = [Template("plan:{plan_id}"), Template("carrier:{code}:full")]
    with pytest.raises(
        ConfigurationError,
        match=r"rule 'carrier.changed' deletes 'carrier:{id}', .* there is \['carrier:{code}:full'",
    ):
        RULES.check(used)
    RULES.check([*used, Template("carrier:{code}")])
    RULES.check([])  # keys may be used by hand


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"event": ""}, "event=''"),
        ({"event": 5}, "event=5"),
        ({"event": "a", "delete": "plan:{id}"}, r"delete='plan:{id}': expected a list"),
        ({"event": "a", "tags": "t"}, "tags='t': expected a list"),
        ({"event": "a", "delete": ["{id}"]}, "begins with a field"),
        ({"event": "a", "match": [""]}, "match=''"),
        ({"event": "a", "match": [5]}, "match=5"),
        ({"event": "a", "match": ["*"]}, "begins with no resource"),
        ({"event": "a", "match": ["{id}*"]}, "begins with no resource"),
        ({"event": "a", "match": ["a[b]*"]}, r"'a\[b\]\*' is not of letters"),
        ({"event": "a", "match": ["a{b c}*"]}, "a field is not the name of one"),
    ],
    ids=str,
)
def test_a_rule_that_cannot_work_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        on(**options)


def test_only_rules_make_rules() -> None:
    with pytest.raises(ConfigurationError, match=r"'plan\.changed' is no rule"):
        InvalidationRules("plan.changed")  # type: ignore[arg-type]
