"""A fence that nobody runs is a failure."""

import re
from pathlib import Path

import pytest

from tests.fences import sybil

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path
    for pattern in ("README.md", "docs/**/*.md", "examples/**/*.md", "src/**/*.py")
    for path in ROOT.glob(pattern)
    if "```py" in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_python_fence_is_collected(page: Path) -> None:
    written = re.findall(r"^[ \t>*-]*(?:`{3,}|~{3,})[ \t]*py", page.read_text(), re.MULTILINE)
    collected = list(sybil(()).parse(page).examples())
    assert len(collected) == len(written)


def test_fences_of_every_form_run(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        '```python\nseen = ["plain"]\n```\n\n'
        '``` python title="a.py" hl_lines="1"\nseen.append("titled")\n```\n\n'
        '=== "Tab"\n\n    ```python\n    import asyncio\n    await asyncio.sleep(0)\n'
        '    seen.append("indented")\n    ```\n\n'
        "```py\nassert seen == ['plain', 'titled', 'indented'], seen\nassert False, 'ran'\n```\n"
    )
    document = sybil(()).parse(page)
    setup, teardown = sybil(()).setup, sybil(()).teardown
    setup(document.namespace)
    *good, last = document.examples()
    for example in good:
        example.evaluate()
    with pytest.raises(AssertionError, match="ran") as failure:
        last.evaluate()
    teardown(document.namespace)
    assert (
        failure.traceback[-1].lineno + 1
        == page.read_text().splitlines().index("assert False, 'ran'") + 1
    )
