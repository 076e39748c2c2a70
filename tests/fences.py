"""Runs every `python` fence of README, docs and docstrings as a test.

Fences of one page share their names and one event loop, in the order of the page, and may `await`
at the top level. A page that says `mongo_url` or `redis_url` gets a real server's address. A fence
with a title, an indent or attributes runs too; one that must not run is not `python` but `text`.
"""

import ast
import asyncio
import inspect
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from sybil import Document, Example, Region, Sybil
from sybil.document import PythonDocStringDocument
from sybil.integration.pytest import SybilFile, SybilItem
from sybil.parsers.markdown.lexers import RawFencedCodeBlockLexer

SERVERS = ("mongo_url", "redis_url")
FENCE = re.compile(r"[ \t]*(?:python|py)\b(?P<attributes>[^\n]*)$\n?", re.MULTILINE)
RUNNER = "__runner__"


class DocstringDocument(PythonDocStringDocument):
    """Docstrings start with no names at all, as a reader's own file does."""

    def __init__(self, text: str, path: str) -> None:
        Document.__init__(self, text, path)


def evaluate(example: Example) -> None:
    """Run one fence on the page's own loop; top-level `await` works as in the asyncio REPL."""
    # Sybil counts a lexeme's offset from the fence, so a traceback names the page's own line.
    source = "\n" * (example.line + example.parsed.line_offset) + example.parsed
    code = compile(
        source, example.path, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True
    )
    names = example.namespace
    names["__name__"] = "__fence__"

    async def run() -> None:
        result = eval(code, names)
        if inspect.isawaitable(result):
            await result

    names[RUNNER].run(run())


def fences(document: Document) -> Iterable[Region]:
    """Every fence whose language is Python, titled and indented ones as well."""
    for region in RawFencedCodeBlockLexer(info_pattern=FENCE)(document):
        region.parsed = region.lexemes["source"]
        region.evaluator = evaluate
        yield region


def open_loop(namespace: dict[str, Any]) -> None:
    """Give the page a loop of its own."""
    namespace[RUNNER] = asyncio.Runner()


def close_loop(namespace: dict[str, Any]) -> None:
    """Close it, which also reports what the page left running."""
    namespace.pop(RUNNER).close()


@cache
def sybil(fixtures: tuple[str, ...]) -> Sybil:
    """A collector for the pages that ask for these servers."""
    return Sybil(
        parsers=[fences],
        patterns=["*.md", "*.py"],
        document_types={".py": DocstringDocument},
        fixtures=fixtures,
        setup=open_loop,
        teardown=close_loop,
    )


def collect(path: Path, parent: pytest.Collector) -> SybilFile | None:
    """The page's fences as test items, or None where there are none."""
    if path.suffix not in {".md", ".py"} or path.name == "conftest.py":
        return None
    text = path.read_text(encoding="utf-8")
    if "```" not in text:
        return None
    needed = tuple(name for name in SERVERS if name in text)
    return SybilFile.from_parent(parent, path=path, sybils=[sybil(needed)])


def keep_page_order(items: list[pytest.Item]) -> None:
    """Gather the fences of a page, in order, where its first one landed in the shuffle.

    They share names, so their order is their meaning; and a page's loop closes when another page's
    fence comes next.
    """
    pages: dict[Path, list[SybilItem]] = {}
    for item in items:
        if isinstance(item, SybilItem):
            pages.setdefault(item.path, []).append(item)
    for page in pages.values():
        page.sort(key=lambda item: item.example.line)
    gathered: list[pytest.Item] = []
    for item in items:
        gathered += pages.pop(item.path, []) if isinstance(item, SybilItem) else [item]
    items[:] = gathered
