from collections.abc import Callable, Hashable
from enum import StrEnum
from functools import partial
from typing import Annotated, Any, Literal, Protocol

import pytest
from bson import ObjectId

from symphonia_perf.cache._arguments import Arguments, name_of
from symphonia_perf.cache.keys import KeyScheme, Template
from symphonia_perf.errors import ConfigurationError


def plan(plan_id: str) -> None: ...


def orders(client: str, page: int = 1, *, status: str = "all") -> None: ...


def strict(a: int, /, b: int, *, c: int) -> None: ...


def nothing() -> None: ...


def traced(plan_id: str, trace: str = "") -> None: ...


def many(*ids: str) -> None: ...


def options(**ids: str) -> None: ...


ORDERS = "orders:{client}:?status={status}&page={page}"


@pytest.mark.parametrize(
    ("function", "template", "args", "kwargs", "key"),
    [
        (plan, "plan:{plan_id}", ("1",), {}, "plan:1"),
        (plan, "plan:{plan_id}", (), {"plan_id": "1"}, "plan:1"),
        (orders, ORDERS, ("a",), {}, "orders:a:?page=1&status=all"),
        (orders, ORDERS, ("a", 1), {}, "orders:a:?page=1&status=all"),
        (orders, ORDERS, ("a",), {"status": "all"}, "orders:a:?page=1&status=all"),
        (orders, ORDERS, (), {"page": 2, "client": "a"}, "orders:a:?page=2&status=all"),
        (strict, "x:{c}:{a}:{b}", (1, 2), {"c": 3}, "x:3:1:2"),
        (strict, "x:{c}:{a}:{b}", (1,), {"c": 3, "b": 2}, "x:3:1:2"),
        (nothing, "plans:list", (), {}, "plans:list"),
    ],
)
def test_calls_that_mean_the_same_share_a_key(
    function: Callable[..., Any],
    template: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    key: str,
) -> None:
    assert Arguments(Template(template), function, ()).key(args, kwargs) == key


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [((), {}), (("a", 1, "x"), {}), (("a",), {"client": "b"}), (("a",), {"pgae": 1})],
)
def test_a_wrong_call_fails_as_python_would(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    arguments = Arguments(Template(ORDERS), orders, ())
    with pytest.raises(TypeError):
        arguments.key(args, kwargs)


def test_a_missing_keyword_only_argument_is_not_a_default() -> None:
    arguments = Arguments(Template("x:{c}:{a}:{b}"), strict, ())
    with pytest.raises(TypeError, match="'c'"):
        arguments.key((1, 2), {})


def test_ignored_parameters_do_not_count() -> None:
    arguments = Arguments(Template("plan:{plan_id}"), traced, ["trace"])
    assert arguments.key(("1",), {}) == arguments.key(("1", "abc"), {}) == "plan:1"


@pytest.mark.parametrize(
    ("function", "template", "ignore", "message"),
    [
        (plan, "plan:{plan_ids}", (), r"has no parameter 'plan_ids'; did you mean 'plan_id'\?"),
        (plan, "plan:{zzz}", (), r"no parameter 'zzz'; it takes \['plan_id'\]"),
        (plan, "plan:{plan_id}", ["self"], r"ignore: .*\.plan has no parameter 'self'"),
        (plan, "plan:{plan_id}", ["plan_id"], r"ignore=\['plan_id'\]: they stand in template"),
        (plan, "plan:{plan_id}", "plan_id", r"expected a list of names, as in \['plan_id'\]"),
        (traced, "plan:{plan_id}", (), r"differ in 'trace' would share an entry; put \{trace\}"),
        (many, "plans:list", (), r"takes \*ids, which has no place in a key"),
        (options, "plans:list", ["ids"], r"takes \*\*ids, which has no place in a key"),
    ],
)
def test_a_function_that_does_not_fit_its_template_is_refused(
    function: Callable[..., Any], template: str, ignore: Any, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Arguments(Template(template), function, ignore)


def test_a_name_for_messages() -> None:
    assert name_of(plan).endswith(".plan")
    assert name_of(partial(plan, "1")).startswith("functools.partial(")


class Order:
    pass


class Status(StrEnum):
    NEW = "new"


class Named(Protocol):
    name: str


def by_order(order: Order) -> None: ...


def by_list(ids: list[str]) -> None: ...


def by_mapping(given: Annotated[dict[str, str] | None, "x"], other: bytes) -> None: ...


def by_later(order: "NotThere") -> None: ...  # type: ignore[name-defined]  # noqa: F821 - the test


def by_many(
    *,
    a: Status | None,
    b: Annotated[int, "x"],
    c: Any,
    d: object,
    e: ObjectId,
    f: Hashable,
    g: Named,
    h: Literal["x"],
    i: "Order | str",
) -> None: ...


@pytest.mark.parametrize(
    ("template", "function", "message"),
    [
        ("o:{order}", by_order, r"'order' is a <class '.*Order'>, which has no place in a key"),
        ("o:{ids}", by_list, r"'ids' is a list\[str\], which has no place in a key; .* by key="),
        ("o:{given}:{other}", by_mapping, r"'other' is a <class 'bytes'>"),
    ],
)
def test_a_type_that_cannot_form_a_key_is_refused(
    template: str, function: Callable[..., Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Arguments(Template(template), function, ())


def test_a_type_that_may_form_a_key_is_not_refused() -> None:
    Arguments(Template("o:{a}:{b}:{c}:{d}:{e}:{f}:{g}:{h}:{i}"), by_many, ())
    Arguments(Template("o:{order}"), by_later, ())


def test_values_that_were_seen_are_looked_up_and_forgotten() -> None:
    arguments = Arguments(Template("plan:{plan_id}"), plan, ())
    for _ in range(2):
        for n in range(1_100):
            assert arguments.place((f"a b{n}",), {}) == (f"cache:plan:a%20b{n}", ())
        assert arguments.place(("x" * 300,), {}) == arguments.place((), {"plan_id": "x" * 300})
    assert len(arguments._recent) <= 1_024
    assert max(len(values[0]) for values in arguments._recent) <= 200


def test_values_that_are_equal_and_not_the_same_are_told_apart() -> None:
    arguments = Arguments(Template("plan:{plan_id}"), plan, ())
    for _ in range(2):
        found = [arguments.place((value,), {})[0] for value in (1, True, 1.0, "1", None)]
        assert found == [f"cache:plan:{text}" for text in ("1", "~true", "1", "1", "~none")]


def test_what_is_ignored_first_is_not_remembered() -> None:
    def method(self: object, trace: object, plan_id: str, page: int = 1) -> None: ...

    arguments = Arguments(Template("p:{plan_id}:{page}"), method, ["self", "trace"])
    for trace in (object(), object()):
        assert arguments.place((object(), trace, "a"), {}) == ("cache:p:a:1", ())
        assert arguments.place((object(), trace, "a", 2), {}) == ("cache:p:a:2", ())
    assert list(arguments._recent) == [("a",), ("a", 2)]


def test_tags_are_remembered_with_the_key_and_named_once() -> None:
    def method(tenant: str, plan_id: str, owner: str) -> None: ...

    arguments = Arguments(
        Template("p:{plan_id}:{owner}"),
        method,
        ["tenant"],
        tags=[Template(tag) for tag in ("plans", "of:{tenant}", "by:{owner}", "by:{plan_id}")],
        scheme=KeyScheme(prefix="shop", version=2),
    )
    for _ in range(2):
        for tenant in ("a", "b"):  # it makes no other key, and another tag
            key, tags = arguments.place((tenant, "1", "1"), {})
            assert key == "shop:v2:p:1:1"
            names = ("plans", f"of:{tenant}", "by:1")
            assert tags == tuple(f"shop:v2:~tag:{name}" for name in names)


def test_what_a_key_function_gave_is_not_remembered() -> None:
    class Plans:
        region = "eu"

        def load(self, kind: str) -> None: ...

    plans, tenant = Plans(), "acme"
    arguments = Arguments(
        Template("plans:{tenant}:{region}:{kind}"),
        Plans.load,
        ["self"],
        key=lambda self: {"tenant": tenant, "region": self.region},
    )
    assert arguments.place((plans, "a"), {})[0] == "cache:plans:acme:eu:a"
    tenant = "other"
    assert arguments.place((plans, "a"), {})[0] == "cache:plans:other:eu:a"
    plans.region = "us"
    assert arguments.place((plans,), {"kind": "a"})[0] == "cache:plans:other:us:a"
