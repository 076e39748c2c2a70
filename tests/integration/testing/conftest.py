from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.testing.processes import Script


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Callable[[str], Script]]:
    scripts: list[Script] = []

    def run(source: str) -> Script:
        file = tmp_path / f"script_{len(scripts)}.py"
        file.write_text(source)
        scripts.append(Script(file))
        return scripts[-1]

    yield run
    for each in scripts:
        each.process.kill()
        each.process.wait()
        if each.process.stdout is not None:
            each.process.stdout.close()
