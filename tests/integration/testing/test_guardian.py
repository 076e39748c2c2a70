"""Servers end with the process that started them, in whichever way that ends."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from symphonia_perf.errors import ServerStartError
from symphonia_perf.testing.servers import RedisServer, _guard, redis_server
from symphonia_perf.testing.servers import guardian as guardian_module
from symphonia_perf.testing.servers._guard import clean_up
from symphonia_perf.testing.servers.guardian import Guardian
from tests.integration.testing.processes import Script, eventually, gone

HOLD = """
import time
from symphonia_perf.testing.servers import mongo_replica_set, redis_server
with redis_server() as one, redis_server() as two, mongo_replica_set() as three:
    two.pause()
    for server in (one, two, *three.members):
        print(server.pid, server.folder, flush=True)
    time.sleep(60)
"""

FORK = """
import os, sys, time
from symphonia_perf.testing.servers import redis_server
with redis_server() as server:
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    print(child, server.pid, server.folder, flush=True)
    time.sleep(60)
"""

FORKED_CHILD_LEAVES = """
import os, sys
from symphonia_perf.errors import NotOpen
from symphonia_perf.testing.servers import redis_server
with redis_server() as server:
    child = os.fork()
    if child == 0:
        for end in (server.kill, server.stop, server.start):
            try:
                end()
            except NotOpen as error:
                print(error)
        with redis_server() as own:
            print(own.ask("PING"), own.folder.parent != server.folder.parent, flush=True)
        sys.exit(7)                                  # unwinds the parent's `with` too
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), server.ask("PING"), flush=True)
"""

DIES_BEFORE_WATCHING = """
import os, signal
from symphonia_perf.testing.servers import guardian, redis_server

def watch(self, pid):
    print(pid, self._folder, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

guardian.Guardian.watch = watch
with redis_server():
    print("started", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_servers_and_folders_are_gone_after_a_signal(
    script: Callable[[str], Script], number: signal.Signals
) -> None:
    test_process = script(HOLD)
    servers = [test_process.line().split(" ", 1) for _ in range(3)]
    assert not any(gone(int(pid)) for pid, _ in servers)
    assert all(Path(folder).is_dir() for _, folder in servers)
    test_process.send(number)
    test_process.wait()
    for pid, folder in servers:
        eventually(lambda pid=pid: gone(int(pid)))
        eventually(lambda folder=folder: not Path(folder).parent.exists())


def test_a_forked_child_does_not_keep_the_servers_of_a_killed_parent(
    script: Callable[[str], Script],
) -> None:
    test_process = script(FORK)
    child, pid, folder = test_process.line().split(" ", 2)
    try:
        test_process.send(signal.SIGKILL)
        test_process.wait()
        eventually(lambda: gone(int(pid)))
        eventually(lambda: not Path(folder).parent.exists())
        assert not gone(int(child))
    finally:
        os.kill(int(child), signal.SIGKILL)


def test_a_forked_child_does_not_end_the_servers_of_its_parent(
    script: Callable[[str], Script],
) -> None:
    test_process = script(FORKED_CHILD_LEAVES)
    refusals = [test_process.line() for _ in range(3)]
    assert all("only that may end it" in line for line in refusals)
    assert test_process.line() == "PONG True"
    assert test_process.line() == "7 PONG"
    assert test_process.wait() == 0


def test_a_server_never_starts_when_we_die_before_it_is_watched(
    script: Callable[[str], Script],
) -> None:
    test_process = script(DIES_BEFORE_WATCHING)
    pid, folder = test_process.line().split(" ", 1)
    assert test_process.wait() == -signal.SIGKILL
    assert test_process.line() == ""
    eventually(lambda: gone(int(pid)))
    eventually(lambda: not Path(folder).exists())


def test_a_pid_that_was_reaped_is_never_killed() -> None:
    watch = Guardian()
    bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        watch.watch(bystander.pid)
        watch.forget(bystander.pid)
        watch.close()
        assert bystander.poll() is None
    finally:
        bystander.communicate(b"\n")
    assert bystander.returncode == 0


@pytest.mark.parametrize("end", [RedisServer.kill, RedisServer.stop, RedisServer.close])
def test_every_way_to_end_a_server_withdraws_its_pid(
    monkeypatch: pytest.MonkeyPatch, end: Callable[[RedisServer], None]
) -> None:
    forgotten: list[int] = []
    monkeypatch.setattr(Guardian, "forget", lambda _self, pid: forgotten.append(pid))
    with redis_server() as server:
        pid = server.pid
        end(server)
        assert forgotten == [pid]
    assert forgotten == [pid]


def test_a_crash_withdraws_the_pid_when_it_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    forgotten: list[int] = []
    monkeypatch.setattr(Guardian, "forget", lambda _self, pid: forgotten.append(pid))
    with redis_server() as server:
        pid = server.pid
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: not server.running)
        assert forgotten == [pid]


def test_a_guard_that_was_killed_is_an_error_and_then_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(guardian_module, "_current", None)
    watch = guardian_module.guardian()
    assert guardian_module.guardian() is watch
    watch._process.kill()
    watch._process.wait()
    with pytest.raises(ServerStartError, match="guard of the test servers was killed"):
        watch.watch(1)
    watch.forget(1)  # nothing to do, nothing to say
    with redis_server() as server:
        assert server.ask("PING") == "PONG"
        assert server.folder.parent != Path(watch._folder)
    watch.close()
    Path(watch._folder).rmdir()
    guardian_module.guardian().close()


def test_a_guard_that_cannot_start_says_which_program(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("raise SystemExit(3)\n")
    monkeypatch.setattr(guardian_module, "PROGRAM", broken)
    with pytest.raises(ServerStartError, match=r"the guard did not start: .*broken\.py"):
        Guardian()


def test_clean_up_ends_a_stopped_process_and_removes_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "servers"
    (folder / "one").mkdir(parents=True)
    (folder / "one" / "data").write_text("x")
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    os.kill(process.pid, signal.SIGSTOP)
    clean_up([process.pid], folder)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not folder.exists()
    clean_up([process.pid], folder)  # the pid is nobody's now: no error


def test_the_guard_makes_a_folder_and_removes_it_when_its_input_ends(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folders: list[Path] = []
    ignored: list[int] = []

    def lines() -> Iterator[str]:
        folders.append(Path(capsys.readouterr().out.rstrip("\n")))
        assert folders[0].is_dir()
        yield from ()

    monkeypatch.setattr(sys, "stdin", lines())
    monkeypatch.setattr(signal, "signal", lambda number, _action: ignored.append(number))
    _guard.main()
    assert not folders[0].exists()
    assert {signal.SIGHUP, signal.SIGINT, signal.SIGTERM} == set(ignored)


def test_clean_up_gives_up_on_a_folder_that_cannot_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.rmtree", lambda _folder, **_options: None)
    clean_up([], tmp_path, patience=0.05)
    assert tmp_path.exists()


def test_a_server_that_is_never_let_go_ends_quietly() -> None:
    started = "server = redis_server()\nprint(server.__enter__().pid)"
    program = f"from symphonia_perf.testing.servers import redis_server\n{started}"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert ended.stderr == b""
    eventually(lambda: gone(int(ended.stdout)))
