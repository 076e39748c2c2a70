"""Errors and exit codes that need no server."""

import subprocess
import sys
from pathlib import Path

import pytest

from symphonia_perf.cli.entry import run
from symphonia_perf.cli.loading import load_registry
from symphonia_perf.errors import ConfigurationError

PASSWORD = "hunter2"
NOBODY = f"mongodb://app:{PASSWORD}@127.0.0.1:1/shop?serverSelectionTimeoutMS=50"

Output = pytest.CaptureFixture[str]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"declared_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(
        "from symphonia_perf.mongo import Index, IndexRegistry\n"
        "class deeper:\n    indexes = IndexRegistry()\n"
        "deeper.indexes.add('c', Index('a'))\n"
    )
    (tmp_path / f"broken_{name}.py").write_text("1 / 0")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return name


def test_help_names_the_commands(capsys: Output) -> None:
    assert run(["indexes", "--help"]) == 0
    out = capsys.readouterr().out
    for command in ("plan", "apply", "verify", "unused", "export"):
        assert command in out
    assert "2: drift" in out


def test_a_wrong_option_is_an_error_and_no_drift(capsys: Output) -> None:
    assert run(["indexes", "plan"]) == 1
    err = capsys.readouterr().err
    assert err == "Error: Missing argument 'MODULE:REGISTRY'.; see --help\n"
    assert run(["indexes", "plan", "a:b", "--nope"]) == 1
    assert "No such option" in capsys.readouterr().err
    assert run(["indexes", "apply", "a:b", "--uri", NOBODY, "--timeout", "soon"]) == 1
    assert "--timeout='soon': expected a duration such as" in capsys.readouterr().err


def test_a_server_out_of_reach_is_one_sentence_without_a_password(
    module: str, capsys: Output
) -> None:
    assert run(["indexes", "plan", f"{module}:deeper.indexes", "--uri", NOBODY, "--json"]) == 1
    out, err = capsys.readouterr()
    assert err.startswith("Error: buildInfo: 127.0.0.1:1: ")
    assert err.count("\n") == 1
    assert "Topology" not in err
    assert out.startswith('{"error": "buildInfo: ')
    assert out.endswith('"code": null}\n')
    assert PASSWORD not in out + err


@pytest.mark.parametrize(
    "uri",
    [
        f"mongodb://app:{PASSWORD}@host:bad/x",
        f"mongodb://app:{PASSWORD}@host/x?foo=1",
        f"mongodb://app:{PASSWORD}/x@host",
        f"http://app:{PASSWORD}@host",
        f"mongodb://app:{PASSWORD}@127.0.0.1:1/",
    ],
)
def test_no_bad_uri_shows_its_password(module: str, uri: str, capsys: Output) -> None:
    assert run(["indexes", "plan", f"{module}:deeper.indexes", "--uri", uri]) == 1
    out, err = capsys.readouterr()
    assert err.startswith("Error: ")
    assert PASSWORD not in out + err


def test_a_module_that_cannot_be_imported_says_what_was_tried(module: str) -> None:
    with pytest.raises(
        ConfigurationError, match="ModuleNotFoundError: No module named 'nope_"
    ) as e:
        load_registry("nope_here:indexes")
    assert str(Path.cwd()) in str(e.value)
    with pytest.raises(ConfigurationError, match="ZeroDivisionError: division by zero; searched"):
        load_registry(f"broken_{module}:indexes")
    with pytest.raises(ConfigurationError, match="it has none at module level"):
        load_registry(f"{module}:indexes")


def test_the_working_directory_is_searched_first(module: str) -> None:
    registry = load_registry(f"{module}:deeper.indexes")
    assert list(registry.declared) == ["c"]
    assert sys.path[0] == str(Path.cwd())
    assert load_registry(f"{module}:deeper.indexes") is registry
    assert sys.path.count(str(Path.cwd())) == 1


def test_ctrl_c_says_that_builds_go_on(
    module: str, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("symphonia_perf.cli.program.load_registry", interrupted)
    assert run(["indexes", "plan", f"{module}:x", "--uri", NOBODY]) == 130
    assert "goes on on the server" in capsys.readouterr().err


@pytest.mark.parametrize(("package", "extra"), [("click", "cli"), ("pymongo", "mongo")])
def test_a_missing_extra_is_one_sentence(package: str, extra: str) -> None:
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "sys.argv = ['symphonia-perf', '--help']\n"
        "from symphonia_perf.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        f"Error: {package!r} is not installed; run: pip install 'symphonia-perf[{extra}]'\n"
    )
