"""What the server does for a lease: the script itself, under a clock that the test moves."""

import pytest

from tests.unit.redis.lease_server import KEYS, LuaServer

A, B = "10000 host:1:aa", "10000 host:2:bb"


@pytest.fixture
def server() -> LuaServer:
    return LuaServer()


def test_a_free_lease_is_granted_with_a_number(server: LuaServer) -> None:
    granted, number = server.run("acquire", A)
    assert (granted, number) == (1, 1_800_000_000_000_000)
    assert server.get(KEYS[0]) == A
    assert server.get(KEYS[1]) == "1800000000000000"


def test_another_is_refused_and_told_who_and_how_long(server: LuaServer) -> None:
    server.run("acquire", A)
    server.now += 4
    assert server.run("acquire", B) == [0, 6000, A]


def test_the_same_holder_may_ask_again(server: LuaServer) -> None:
    _, first = server.run("acquire", A)
    server.now += 9
    granted, second = server.run("acquire", A)
    assert granted
    assert second > first
    server.now += 9
    assert server.run("acquire", B)[0] == 0


def test_a_renewal_lasts_a_length_from_then_on(server: LuaServer) -> None:
    server.run("acquire", A)
    server.now += 9
    assert server.run("renew", A) == 1
    assert server.run("acquire", B) == [0, 10_000, A]
    assert server.run("renew", B) == 0


def test_it_ends_by_itself(server: LuaServer) -> None:
    _, first = server.run("acquire", A)
    server.now += 10
    assert server.run("renew", A) == 0
    assert server.run("release", A) == 0
    granted, second = server.run("acquire", B)
    assert granted
    assert second > first


def test_only_its_holder_gives_it_back(server: LuaServer) -> None:
    server.run("acquire", A)
    assert server.run("release", B) == 0
    assert server.published == []
    assert server.run("release", A) == 1
    assert server.published == [KEYS[0]]
    assert server.run("acquire", B)[0] == 1


def test_numbers_grow_although_the_clock_is_set_back(server: LuaServer) -> None:
    numbers = []
    for _ in range(5):
        numbers.append(server.run("acquire", A)[1])
        server.run("release", A)
        server.now -= 600
    assert numbers == [numbers[0] + n for n in range(5)]


def test_numbers_grow_although_everything_was_forgotten(server: LuaServer) -> None:
    _, first = server.run("acquire", A)
    server.now += 0.001
    server.data.clear()
    assert server.run("acquire", B)[1] > first


def test_numbers_are_exact_where_lua_would_round_them(server: LuaServer) -> None:
    server.now = 9_000_000_000.0  # the year 2255
    _, first = server.run("acquire", A)
    server.run("release", A)
    assert server.run("acquire", B)[1] == first + 1 == 9_000_000_000_000_001


def test_a_number_is_remembered_while_it_is_renewed(server: LuaServer) -> None:
    _, first = server.run("acquire", A)
    for _ in range(1000):
        server.now += 9
        server.run("renew", A)
    assert server.get(KEYS[1]) == str(first)
    server.run("release", A)
    server.now -= 9600
    assert server.run("acquire", B)[1] == first + 1


def test_what_is_no_number_is_none(server: LuaServer) -> None:
    server.data[KEYS[1]] = ("nonsense", server.now + 1)
    assert server.run("acquire", A) == [1, 1_800_000_000_000_000]


def test_a_clock_set_back_keeps_a_dead_holder_for_one_length_only(server: LuaServer) -> None:
    server.run("acquire", A)
    server.now -= 86_400
    assert server.run("acquire", "500 host:3:cc", 500) == [0, 10_000, A]
    server.now += 10
    assert server.run("acquire", B)[0] == 1


def test_a_clock_set_back_takes_nothing_from_a_live_holder(server: LuaServer) -> None:
    server.run("acquire", A)
    server.now -= 86_400
    server.run("acquire", B)
    server.now += 9
    assert server.run("renew", A) == 1


def test_a_clock_set_forward_gives_it_to_another_with_a_greater_number(server: LuaServer) -> None:
    """Two believe that they hold it, until the first one renews; the numbers tell them apart."""
    _, first = server.run("acquire", A)
    server.now += 3600
    granted, second = server.run("acquire", B)
    assert granted
    assert second > first
    assert server.run("renew", A) == server.run("release", A) == 0


def test_a_foreign_holder_without_a_length_is_waited_for(server: LuaServer) -> None:
    server.data[KEYS[0]] = ("somebody", server.now + 99)
    assert server.run("acquire", A) == [0, 99_000, "somebody"]


def test_nobody_gets_it_for_a_length_after_the_server_has_started(server: LuaServer) -> None:
    server.now += 0.75
    server.run("acquire", A)
    server.restart(loses=True)
    # Whole seconds are told: up to one may be missing, so one more is waited.
    assert server.run("acquire", B) == [0, 11_000, ""]
    server.now += 9.25
    assert server.run("acquire", B) == [0, 1000, ""]
    server.now += 1
    assert server.run("acquire", B)[0] == 1


def test_a_holder_that_the_restart_kept_goes_on(server: LuaServer) -> None:
    server.run("acquire", A)
    server.restart(loses=False)
    assert server.run("renew", A) == 1
    assert server.run("acquire", A)[0] == 1
    assert server.run("acquire", B)[0] == 0


def test_who_takes_the_risk_gets_it_at_once(server: LuaServer) -> None:
    server.run("acquire", A)
    server.restart(loses=True)
    assert server.run("acquire", B, after_restart="grant")[0] == 1


def test_a_server_that_does_not_tell_its_age_grants(server: LuaServer) -> None:
    server.restart(loses=True)
    server.info = False
    assert server.run("acquire", A)[0] == 1


def test_a_clock_set_back_behind_the_start_of_the_server_grants(server: LuaServer) -> None:
    server.restart(loses=False)
    server.now -= 3600  # it was started later than it is
    assert server.run("acquire", A)[0] == 1
