"""Errors and exit codes that need no server."""

import json
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest

from symphonia_perf.cli.entry import run
from symphonia_perf.cli.loading import load_registry
from symphonia_perf.cli.reporting import print_plan
from symphonia_perf.errors import ConfigurationError
from symphonia_perf.mongo import Index, IndexRegistry

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
    (tmp_path / f"leaving_{name}.py").write_text("raise SystemExit(2)")
    (tmp_path / f"telling_{name}.py").write_text(
        f"raise RuntimeError('no server at mongodb://app:{PASSWORD}@host/x\\n  try again')"
    )
    (tmp_path / f"printing_{name}.py").write_text(
        "print('hello')\nfrom symphonia_perf.mongo import IndexRegistry\n"
        "indexes = IndexRegistry()\ndef factory(): return indexes\n"
    )
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
    assert err == "Error: Missing argument 'MODULE:REGISTRY'; see --help\n"
    assert run(["indexes", "plan", "a:b", "--nope"]) == 1
    assert "No such option" in capsys.readouterr().err
    assert run(["indexes", "apply", "a:b", "--uri", NOBODY, "--timeout", "soon"]) == 1
    assert "--timeout='soon': expected a duration such as" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["indexes"]])
def test_a_command_without_its_subcommand_shows_them(arguments: list[str], capsys: Output) -> None:
    assert run(arguments) == 1
    out, err = capsys.readouterr()
    assert "Commands:" in err
    assert not err.startswith("Error")
    assert out == ""


@pytest.mark.parametrize("name", ["", "a.b", "a$b", "a b"])
def test_a_database_needs_a_name(module: str, name: str, capsys: Output) -> None:
    given = ["--uri", NOBODY, "--database", name, "--json"]
    assert run(["indexes", "plan", f"{module}:deeper.indexes", *given]) == 1
    out, err = capsys.readouterr()
    assert err.startswith(f"Error: --database={name!r}: database name")
    assert json.loads(out)["code"] is None


def test_a_module_that_leaves_is_no_drift(module: str, capsys: Output) -> None:
    assert run(["indexes", "plan", f"leaving_{module}:x", "--uri", NOBODY]) == 1
    assert f"SystemExit: 2; raised in leaving_{module}.py, line 1\n" in capsys.readouterr().err


def test_what_a_module_says_is_one_line_without_a_password(module: str, capsys: Output) -> None:
    assert run(["indexes", "plan", f"telling_{module}:x", "--uri", NOBODY, "--json"]) == 1
    out, err = capsys.readouterr()
    assert "RuntimeError: no server at mongodb://app:***@host/x try again; raised in" in err
    assert err.count("\n") == 1
    assert PASSWORD not in out + err


def test_what_a_module_prints_is_none_of_our_output(module: str, capsys: Output) -> None:
    assert run(["indexes", "plan", f"printing_{module}:indexes", "--uri", NOBODY, "--json"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["error"].startswith("buildInfo: ")
    assert err.startswith("hello\nError: ")


def test_a_module_that_raises_says_on_which_of_its_lines(module: str, tmp_path: Path) -> None:
    package = tmp_path / f"pack_{module}"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "deep.py").write_text(
        "from symphonia_perf.mongo import Index\n\nindex = Index('a', expire_after=-1)\n"
    )
    (package / "indexes.py").write_text(f"from pack_{module}.deep import index\n")
    where = rf"ConfigurationError: .*expire_after=-1.*; raised in pack_{module}/deep\.py, line 3$"
    with pytest.raises(ConfigurationError, match=where):
        load_registry(f"pack_{module}.indexes:indexes")
    with pytest.raises(ConfigurationError, match=r"ModuleNotFoundError: .*; searched .* folders$"):
        load_registry(f"missing_{module}:indexes")


def test_a_factory_is_told_apart(module: str) -> None:
    with pytest.raises(ConfigurationError, match=r"'factory' is a function, .*: give that a name"):
        load_registry(f"printing_{module}:factory")


@pytest.mark.parametrize("target", ["./app:x", "app/indexes.py:x", ".app:x", "mongodb://h/x"])
def test_a_path_is_no_module(target: str) -> None:
    with pytest.raises(ConfigurationError, match=r"expected MODULE:REGISTRY, such as app\.indexes"):
        load_registry(target)


def test_a_disk_that_is_full_is_an_error(
    module: str, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("symphonia_perf.cli.program.load_registry", full)
    assert run(["indexes", "plan", f"{module}:x", "--uri", NOBODY]) == 1
    assert capsys.readouterr().err == "Error: cannot write: [Errno 28] No space left on device\n"


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_closed_streams_change_no_exit_code(stream: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, stream, None)
    assert run(["indexes", "plan", "nope", "--uri", NOBODY, "--json"]) == 1


@pytest.mark.parametrize(
    ("name", "value", "coloured"),
    [("NO_COLOR", "1", False), ("NO_COLOR", "", True), ("TERM", "dumb", False)],
)
def test_colours_can_be_refused(
    name: str, value: str, *, coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    registry = IndexRegistry()
    registry.add("c", Index("a"))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv(name, value)
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    print_plan(registry.diff({}))
    assert "+ c: a_1 {a: 1}" in screen.getvalue()
    assert ("\x1b[" in screen.getvalue()) == coloured


def test_a_server_out_of_reach_is_one_sentence_without_a_password(
    module: str, capsys: Output
) -> None:
    assert run(["indexes", "plan", f"{module}:deeper.indexes", "--uri", NOBODY, "--json"]) == 1
    out, err = capsys.readouterr()
    assert err.startswith("Error: buildInfo: no server to ask: 127.0.0.1:1: ")
    assert "(waited 0.05 s); check that MongoDB runs there" in err
    assert "configured timeouts" not in err
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
    with pytest.raises(ConfigurationError, match="ZeroDivisionError: division by zero; raised in"):
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
    assert run(["indexes", "plan", f"{module}:x", "--uri", NOBODY, "--json"]) == 130
    out, err = capsys.readouterr()
    assert json.loads(out)["error"] == "a build that has begun goes on on the server"
    assert err.endswith("Stopped: a build that has begun goes on on the server\n")


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
