import enum
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest
from bson import ObjectId

from symphonia_perf.cache.keys import KeyScheme, Template, encode
from symphonia_perf.errors import ConfigurationError


class Status(enum.Enum):
    ACTIVE = "active"
    ODD = object()
    NOTHING = None


class Text(str, enum.Enum):  # noqa: UP042 - its str() is not its value: that is the test
    A = "a:1"


class Name(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "something else"


class Subclassed(ObjectId):
    pass


TEXTS = [
    ("12345", "12345"),
    (12345, "12345"),
    (-1, "-1"),
    ("", ""),
    ("a:b", "a%3Ab"),
    ("{tag}", "%7Btag%7D"),
    ("*?[x]^\\", "%2A%3F%5Bx%5D%5E%5C"),
    (" \t\r\n\0", "%20%09%0D%0A%00"),
    ("ü", "%C3%BC"),
    ("٣", "%D9%A3"),
    ("\ud800", "%ED%A0%80"),
    ("~none", "%7Enone"),
    ("50%", "50%25"),
    (None, "~none"),
    (True, "~true"),
    (False, "~false"),
    (1.5, "1.5"),
    (7.0, "7"),
    (-0.0, "0"),
    (2.0**62, "4611686018427387904"),
    (2.0**63, "9.223372036854776e%2B18"),
    (Decimal("1.50"), "1.50"),
    (date(2026, 1, 2), "2026-01-02"),
    (datetime(2026, 1, 2, 3, 4, tzinfo=UTC), "2026-01-02T03%3A04%3A00%2B00%3A00"),
    (datetime(2026, 1, 2, 3, 4), "2026-01-02T03%3A04%3A00%2B00%3A00"),  # noqa: DTZ001 - meant
    (
        datetime(2026, 1, 2, 4, 4, tzinfo=timezone(timedelta(hours=1))),
        "2026-01-02T03%3A04%3A00%2B00%3A00",
    ),
    (
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))),
        "0001-01-01T00%3A00%3A00%2B01%3A00",
    ),
    (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    (ObjectId("65a000000000000000000001"), "65a000000000000000000001"),
    (Subclassed("65a000000000000000000001"), "65a000000000000000000001"),
    (Status.ACTIVE, "active"),
    (Status.NOTHING, "~none"),
    (Text.A, "a%3A1"),
    (Name("real"), "real"),
]


@pytest.mark.parametrize(
    ("value", "text"), [pytest.param(*each, id=f"{each[0]!a} {n}") for n, each in enumerate(TEXTS)]
)
def test_a_value_as_part_of_a_key(value: object, text: str) -> None:
    assert encode(value) == text


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        (),
        object(),
        b"x",
        1j,
        float("nan"),
        float("inf"),
        Decimal("sNaN"),
        Status.ODD,
        encode,
    ],
)
def test_a_value_without_a_lasting_text_is_refused(value: object) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot be part of a key; allowed are str, int"):
        encode(value)


@pytest.mark.parametrize("filler", ["x", "ü"])
def test_a_long_value_becomes_a_digest(filler: str) -> None:
    one, other = encode(filler * 500), encode(filler * 501)
    assert one != other
    assert one.startswith("~")
    assert len(one) == 41
    assert encode("x" * 200) == "x" * 200


@pytest.mark.parametrize(
    ("pattern", "values", "key"),
    [
        ("plans:list", {}, "plans:list"),
        ("plan:{plan_id}", {"plan_id": "12345"}, "plan:12345"),
        ("carriers:list:?status=active", {}, "carriers:list:?status=active"),
        (
            "orders:list:client-{client}:?page={page}",
            {"client": 123, "page": 1},
            "orders:list:client-123:?page=1",
        ),
        ("a:{x}-end:{y}", {"x": "1", "y": None}, "a:1-end:~none"),
        ("a:?z={z}&b={b}.gz&m=1", {"b": "&=", "z": "?"}, "a:?b=%26%3D.gz&m=1&z=%3F"),
    ],
)
def test_templates_of_the_documented_scheme(
    pattern: str, values: dict[str, object], key: str
) -> None:
    assert Template(pattern).key(**values) == key


def test_a_long_query_becomes_a_digest() -> None:
    template = Template("orders:list:?a={a}&b={b}")
    assert template.key(a="x" * 97, b="y" * 98).count("x") == 97
    one, other = template.key(a="x" * 98, b="y" * 98), template.key(a="x" * 98, b="y" * 99)
    assert one != other
    assert one.startswith("orders:list:?~")
    assert len(one) == len("orders:list:?~") + 40


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("", r"part '' is not letters"),
        ("plan:", r"part '' is not letters"),
        ("plan::{id}", r"part '' is not letters"),
        ("plan:{a}{b}", r"at most one \{field\}"),
        ("plan:{a", r"part '\{a' is not"),
        ("plan:{}", r"part '\{\}' is not"),
        ("plan:{a.b}", r"'a\.b' is not the name of a parameter"),
        ("plan:{0}", r"'0' is not the name of a parameter"),
        ("pl*n:{a}", r"part 'pl\*n'"),
        ("pl n", r"part 'pl n'"),
        ("~none", r"part '~none'"),
        ("{kind}:list", r"begins with a field"),
        ("a:{x}:{x}", r"a field stands in it twice"),
        ("a:{x}:?x={x}", r"a field stands in it twice"),
        ("a:?", r"'' is not name=value"),
        ("a:?{x}", r"'\{x\}' is not name=value"),
        ("a:?b*={x}", r"is not name=value"),
        ("a:?b={x}&b={y}", r"'b' stands in the query twice"),
        ("a:?b=", r"part '' is not"),
        (encode, r"expected a text such as 'plan:\{id\}'"),
    ],
)
def test_a_malformed_template_is_refused_with_its_part(pattern: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Template(pattern)


def test_values_must_be_the_fields() -> None:
    template = Template("plan:{plan_id}")
    with pytest.raises(ConfigurationError, match=r"takes \['plan_id'\], not \['id'\]"):
        template.key(id=1)
    with pytest.raises(ConfigurationError, match=r"plan_id: \{\} \(dict\) cannot be part"):
        template.key(plan_id={})
    assert repr(template) == "Template('plan:{plan_id}')"


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        ("plan:{a}", "plan:{b}", True),
        ("plan:{a}", "plan:list", True),
        ("plans:list", "plan:{a}", False),
        ("plan:list", "plan:list", True),
        ("plan:list", "plan:all", False),
        ("plan:{a}", "plan:{a}:list", False),
        ("plan:c-{a}", "plan:d-{a}", False),
        ("plan:c-{a}", "plan:c-d{a}", True),
        ("plan:{a}-x", "plan:{a}-y", False),
        ("plan:{a}-x", "plan:{a}x", True),
        ("plan:c-{a}-x", "plan:c-x", False),
        ("plan:c-{a}", "plan:c-list", True),
        ("plan:c-{a}", "plan:list", False),
        ("plan:{a}-x", "plan:list", False),
        ("plan:{a}:?p={p}", "plan:{a}:?p=1", True),
        ("plan:{a}:?p={p}", "plan:{a}:?q={p}", False),
        ("plan:{a}:?p={p}", "plan:{a}", False),
    ],
)
def test_two_templates_that_can_make_one_key(one: str, other: str, *, overlap: bool) -> None:
    assert Template(one).overlaps(Template(other)) is overlap
    assert Template(other).overlaps(Template(one)) is overlap


def test_a_scheme_puts_keys_under_prefix_and_version() -> None:
    assert KeyScheme().full("plan:1") == "cache:plan:1"
    assert KeyScheme(prefix="shop:eu", version=0).full("plan:1") == "shop:eu:v0:plan:1"


@pytest.mark.parametrize("prefix", ["", "a b", "a:", ":a", "a::b", "a*", "{a}", "ü", None, b"a"])
def test_a_prefix_that_means_something_in_keys_is_refused(prefix: str) -> None:
    with pytest.raises(ConfigurationError, match="prefix="):
        KeyScheme(prefix=prefix)


@pytest.mark.parametrize("version", [-1, True, "2", 1.0])
def test_a_version_is_an_int(version: int) -> None:
    with pytest.raises(ConfigurationError, match="version="):
        KeyScheme(version=version)


def test_an_int_of_more_digits_than_python_writes_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"an int that cannot be part of a key: .*digits"):
        encode(10**5000)
