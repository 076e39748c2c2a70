import socket

import pytest

from symphonia_perf.errors import ServerStartError
from symphonia_perf.testing.servers import ports


def test_a_port_below_those_of_outgoing_connections() -> None:
    assert 20_000 <= ports.free_port() < 32_000


def test_a_port_in_use_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    free = ports.free_port()
    with socket.socket() as taken:
        taken.bind((ports.HOST, 0))
        candidates = iter([taken.getsockname()[1], free])
        monkeypatch.setattr(ports.secrets, "choice", lambda _ports: next(candidates))
        assert ports.free_port() == free


def test_no_free_port_is_an_error_with_the_range(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind((ports.HOST, 0))
        monkeypatch.setattr(ports.secrets, "choice", lambda _ports: taken.getsockname()[1])
        with pytest.raises(ServerStartError, match=r"no free port on 127\.0\.0\.1 from 20000"):
            ports.free_port()
