"""The public surface: `__all__`, lazy access and type checkers' view of it are one list."""

import ast
import importlib
import pkgutil
from pathlib import Path

import pytest

import symphonia_perf

SOURCE = Path(symphonia_perf.__file__).parent
MODULES = sorted(
    info.name for info in pkgutil.walk_packages([str(SOURCE)], prefix="symphonia_perf.")
)
BLOCKS = [
    name
    for name in MODULES
    if (SOURCE.parent / name.replace(".", "/") / "__init__.py").is_file()
    and not any(part.startswith("_") for part in name.split("."))
]


def type_checking_imports(init: Path) -> set[str]:
    """The names that a type checker sees: those under `if TYPE_CHECKING`."""
    return {
        alias.asname or alias.name
        for node in ast.parse(init.read_text()).body
        if isinstance(node, ast.If)
        for statement in node.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }


@pytest.mark.parametrize("name", ["symphonia_perf", *MODULES])
def test_every_name_in_all_exists(name: str) -> None:
    module = importlib.import_module(name)
    public = getattr(module, "__all__", None)
    if name.rpartition(".")[2].startswith("_") or "._" in name:
        return
    assert public is not None, f"{name} has no __all__"
    for each in public:
        assert getattr(module, each) is not None


@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_shows_type_checkers_what_it_gives_at_run_time(name: str) -> None:
    module = importlib.import_module(name)
    seen = type_checking_imports(Path(str(module.__file__)))
    assert seen == set(module.__all__)
    assert set(module.__all__) <= set(dir(module))


@pytest.mark.parametrize("name", ["symphonia_perf", *BLOCKS])
def test_an_unknown_name_is_an_attribute_error(name: str) -> None:
    with pytest.raises(AttributeError, match=rf"module '{name}' has no attribute 'Cahce'"):
        importlib.import_module(name).Cahce  # noqa: B018 - the access is the test


def test_the_root_knows_its_version_and_blocks() -> None:
    assert symphonia_perf.__version__.startswith("0.1.0")
    assert {"cache", "__version__"} <= set(dir(symphonia_perf))
    assert symphonia_perf.cache is importlib.import_module("symphonia_perf.cache")
