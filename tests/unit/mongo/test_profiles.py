from collections.abc import Callable
from dataclasses import fields
from typing import Any, TypeAlias

import pytest

from symphonia_perf.errors import ConfigurationError
from symphonia_perf.mongo import PoolOptions
from symphonia_perf.mongo._profiles import WEB, WORKER

Make: TypeAlias = Callable[..., PoolOptions]
PROFILES = [(PoolOptions.web, WEB), (PoolOptions.worker, WORKER)]


@pytest.mark.parametrize(("make", "profile"), PROFILES)
def test_a_profile_changes_what_it_names_and_nothing_else(
    make: Make, profile: dict[str, Any]
) -> None:
    made, default = make(), PoolOptions()
    different = {f.name for f in fields(made) if getattr(made, f.name) != getattr(default, f.name)}
    assert different == set(profile)
    assert {name: getattr(made, name) for name in profile} == profile


@pytest.mark.parametrize(("make", "profile"), PROFILES)
def test_the_documented_values(make: Make, profile: dict[str, Any]) -> None:
    documentation = (make.__doc__ or "").replace("\n        ", " ")
    for value in profile.values():
        said = {(): "no compression", "primary": "reads from the primary"}.get(value)
        assert (said or f" {value:g}") in documentation


def test_a_variable_beats_the_profile_and_is_beaten_by_the_uri() -> None:
    environ = {
        "MONGODB_URI": "mongodb://db/?socketTimeoutMS=7000",
        "MONGODB_SOCKET_TIMEOUT": "9s",
        "MONGODB_MAX_POOL_SIZE": "4",
        "MONGODB_WAIT_QUEUE_TIMEOUT": "3s",
    }
    options = PoolOptions.from_env(environ=environ, profile="worker", wait_queue_timeout=1.0)
    assert options.wait_queue_timeout == 1.0  # the argument
    assert options.socket_timeout == 7.0  # the URI
    assert options.max_size == 4  # the variable
    assert (options.max_idle, options.min_size) == (300.0, 1)  # the profile
    assert options.heartbeat == PoolOptions().heartbeat  # the default
    assert PoolOptions.from_env(environ={}, profile="web") == PoolOptions.web()


@pytest.mark.parametrize("profile", ["Web", "", 7])
def test_a_profile_that_is_none(profile: Any) -> None:
    with pytest.raises(ConfigurationError, match="expected one of 'web', 'worker'"):
        PoolOptions.from_env(environ={}, profile=profile)


def test_an_argument_beats_the_uri_which_beats_the_profile() -> None:
    uri = "mongodb://db/?connectTimeoutMS=3000&socketTimeoutMS=7000"
    options = PoolOptions.web(uri, socket_timeout=8.0)
    assert (options.connect_timeout, options.socket_timeout) == (3.0, 8.0)
    assert options.compressors == ()
    assert options.uri == "mongodb://db"


def test_the_minimum_follows_a_smaller_maximum() -> None:
    assert PoolOptions.web(max_size=4).min_size == 4
    assert PoolOptions.worker(max_size=4).min_size == 1
    assert PoolOptions.worker("mongodb://db/?maxPoolSize=3").max_size == 3


def test_a_minimum_above_the_profiles_maximum_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match=r"min_size=20 is more than max_size=10"):
        PoolOptions.worker(min_size=20)


@pytest.mark.parametrize("make", [PoolOptions.web, PoolOptions.worker])
@pytest.mark.parametrize("uri", ["", "redis://db", None])
def test_an_uri_that_is_none(make: Make, uri: Any) -> None:
    with pytest.raises(ConfigurationError):
        make(uri)


def test_selection_outlasts_an_election() -> None:
    # An election takes 10 to 12 s with the server's own settings; writes fail below that.
    for options in (PoolOptions(), PoolOptions.web(), PoolOptions.worker()):
        assert options.server_selection_timeout > 12
