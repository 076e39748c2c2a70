"""Environment variables become the fields of an options dataclass."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

import pytest

from symphonia_perf._core.env import from_environ, nearest, variable_names
from symphonia_perf.errors import ConfigurationError
from symphonia_perf.typing import Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    url: str = "there"
    size: int = 10
    ratio: float = 0.5
    secure: bool = False
    idle: Seconds | None = 30.0
    deadline: Seconds = 1.0
    mode: Literal["fast", "safe"] = "safe"
    codecs: tuple[str, ...] = ("zlib",)
    confirm: int | str = "majority"
    name: str | None = None
    context: object | None = None  # has no text form


def read(**environ: str) -> dict[str, Any]:
    return from_environ(Options, environ, prefix="APP_")


def test_nothing_set_gives_nothing() -> None:
    assert read() == {}
    assert Options(**read()) == Options()


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        ("APP_URL", " there: 1 ", "url", "there: 1"),
        ("APP_URL", "none", "url", "none"),
        ("APP_SIZE", "20", "size", 20),
        ("APP_SIZE", "-1", "size", -1),
        ("APP_RATIO", "2", "ratio", 2.0),
        ("APP_RATIO", "-0.25", "ratio", -0.25),
        ("APP_SECURE", "TRUE", "secure", True),
        ("APP_SECURE", "1", "secure", True),
        ("APP_SECURE", "yes", "secure", True),
        ("APP_SECURE", "false", "secure", False),
        ("APP_SECURE", "0", "secure", False),
        ("APP_SECURE", "No", "secure", False),
        ("APP_IDLE", "250ms", "idle", 0.25),
        ("APP_IDLE", "45", "idle", 45.0),
        ("APP_IDLE", "None", "idle", None),
        ("APP_DEADLINE", "2m", "deadline", 120.0),
        ("APP_MODE", "fast", "mode", "fast"),
        ("APP_CODECS", "zstd, zlib", "codecs", ("zstd", "zlib")),
        ("APP_CODECS", "none", "codecs", ()),
        ("APP_CONFIRM", "2", "confirm", 2),
        ("APP_CONFIRM", "majority", "confirm", "majority"),
        ("APP_NAME", "orders", "name", "orders"),
        ("APP_NAME", "none", "name", None),
    ],
)
def test_text_is_read_by_the_fields_annotation(
    variable: str, text: str, field: str, value: object
) -> None:
    found = read(**{variable: text})
    assert found == {field: value}
    assert type(found[field]) is type(value)


@pytest.mark.parametrize(
    ("variable", "text", "wanted"),
    [
        ("APP_SIZE", "abc", "expected a whole number"),
        ("APP_SIZE", "1.5", "expected a whole number"),
        ("APP_SIZE", "9" * 5000, "expected a whole number"),
        ("APP_RATIO", "half", "expected a number"),
        ("APP_RATIO", "nan", "expected a number"),
        ("APP_SECURE", "maybe", "expected true, 1, yes, false, 0 or no"),
        ("APP_IDLE", "soon", "expected a duration such as"),
        ("APP_DEADLINE", "none", "expected a duration such as"),
    ],
)
def test_unreadable_text_names_variable_value_and_what_is_allowed(
    variable: str, text: str, wanted: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(**{variable: text})
    assert str(caught.value).startswith(f"{variable}={text!r}: ")
    assert wanted in str(caught.value)


def test_empty_variables_count_as_not_set() -> None:
    assert read(APP_SIZE="", APP_URL="  ") == {}


def test_names_replace_the_field_in_upper_case() -> None:
    names = {"size": "POOL_SIZE"}
    assert from_environ(Options, {"APP_POOL_SIZE": "3"}, prefix="APP_", names=names) == {"size": 3}
    assert variable_names(Options, prefix="APP_", names=names)["size"] == "APP_POOL_SIZE"


def test_a_field_without_text_form_has_no_variable() -> None:
    assert "context" not in variable_names(Options, prefix="APP_")
    assert read(APP_CONTEXT="x") == {}


@pytest.mark.parametrize(
    ("variable", "meant"),
    [("APP_SIZES", "APP_SIZE"), ("APP_SECUR", "APP_SECURE"), ("APP_URI", "APP_URL")],
)
def test_a_variable_that_looks_like_ours_is_refused(variable: str, meant: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{variable}: .*did you mean {meant}\\?$"):
        read(**{variable: "1"})


def test_the_fields_own_name_is_refused_where_the_variable_has_another() -> None:
    names = {"idle": "MAX_UNUSED_TIME"}
    with pytest.raises(ConfigurationError, match=r"APP_IDLE: .* APP_MAX_UNUSED_TIME\?$"):
        from_environ(Options, {"APP_IDLE": "1"}, prefix="APP_", names=names)


def test_other_peoples_variables_may_stand() -> None:
    assert read(APP_SERVICE_HOST="10.0.0.1", APP_PORT="tcp://10.0.0.1", HOME="/", SIZE="7") == {}


def test_nearest_ignores_case_and_gives_up_on_the_unlike() -> None:
    assert nearest("MAXPOOL", ("maxPoolSize", "minPoolSize")) == "maxPoolSize"
    assert nearest("banana", ("maxPoolSize", "minPoolSize")) is None
    assert nearest("a" * 1_000_000, ("a" * 80,)) == "a" * 80


def test_the_annotation_of_a_duration_is_the_public_one() -> None:
    assert timedelta in set(Seconds.__args__)  # type: ignore[attr-defined] # the alias is a union
