"""The commands and their options, by click."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import click
from pymongo.database import Database
from pymongo.errors import ConfigurationError as DriverConfigurationError
from pymongo.errors import InvalidName
from rich.console import Console

from symphonia_perf._core.durations import parse_duration
from symphonia_perf.cli.loading import load_registry
from symphonia_perf.cli.reporting import (
    plan_document,
    print_json,
    print_plan,
    served_document,
    unused_document,
    unused_lines,
)
from symphonia_perf.cli.watching import build_bars, told_when_waiting
from symphonia_perf.errors import ConfigurationError, IndexNotUsed
from symphonia_perf.mongo.clients import create_client
from symphonia_perf.mongo.indexes import IndexPlan, IndexRegistry
from symphonia_perf.mongo.options import PoolOptions
from symphonia_perf.typing import Document

__all__ = ["invoke"]

F = TypeVar("F", bound=Callable[..., Any])

_OBSERVED = "How long every member must have counted; a younger index is undecided."
_CLEAN, _ERROR, _DRIFT = 0, 1, 2


def invoke(arguments: Sequence[str]) -> int:
    """The exit code of the command with these arguments.

    Raises:
        SymphoniaError: it failed.
    """
    try:
        code = program.main(list(arguments), "symphonia-perf", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:  # a command without its subcommand
        error.show()
        return _ERROR
    except click.ClickException as error:  # click's own code for a wrong option is our drift
        raise ConfigurationError(f"{error.format_message().rstrip('.')}; see --help") from error
    except click.Abort as error:
        raise KeyboardInterrupt from error
    return int(code or _CLEAN)


def _seconds(_: click.Context, param: click.Parameter, text: str | None) -> float | None:
    """`250ms`, `45s`, `15m`, `1.5h` or `2d` as seconds."""
    return None if text is None else parse_duration(text, option=param.opts[-1])


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="symphonia-perf", message="%(prog)s %(version)s")
def program() -> None:
    """Measured performance blocks: what a deploy and a CI job ask of them."""


@program.group()
def indexes() -> None:
    """MongoDB indexes: compare what is declared with what is there, and bring it there.

    Exit code 0: clean, or done. 1: an error, in one sentence. 2: drift.
    """


def _common(command: F) -> F:
    for decorate in (
        click.option("--json", "as_json", is_flag=True, help="Print one JSON document."),
        click.option("--database", metavar="NAME", help="Default: the one that the URI names."),
        click.option(
            "--uri",
            required=True,
            envvar="MONGODB_URI",
            help="Where MongoDB is; default: the variable MONGODB_URI.",
        ),
    ):
        command = decorate(command)
    return command


_registry = click.argument("registry", metavar="MODULE:REGISTRY")


@indexes.command()
@_registry
@_common
def plan(registry: str, uri: str, database: str | None, *, as_json: bool) -> int:
    """Show what would be done. Reads only."""
    found = load_registry(registry)
    with _connected(uri, database) as db:
        made = found.plan_sync(db)
        _show_plan(db.name, made, as_json=as_json)
    return _DRIFT if made else _CLEAN


@indexes.command()
@_registry
@_common
@click.option("--drop", is_flag=True, help="Drop retired indexes that were hidden long enough.")
@click.option("--allow-gap", is_flag=True, help="Drop and build where only that helps.")
@click.option("--timeout", callback=_seconds, help="How long to wait for builds, such as 30m.")
def apply(
    registry: str,
    uri: str,
    database: str | None,
    *,
    as_json: bool,
    drop: bool,
    allow_gap: bool,
    timeout: float | None,
) -> int:
    """Bring the database where the declarations are; drops nothing unless told to."""
    found = load_registry(registry)
    console = Console(stderr=True)
    with _connected(uri, database) as db:
        before = found.plan_sync(db)
        if not as_json:
            print_plan(before)
        told: dict[str, Any] = {"drop": drop, "allow_gap": allow_gap, "timeout": timeout}
        if console.is_terminal:
            with build_bars(console) as draw:
                before.apply_sync(db, progress=draw, **told)
        else:
            before.apply_sync(db, **told)
        after = found.plan_sync(db)
        if as_json:
            documents = (plan_document(db.name, each) for each in (before, after))
            print_json(dict(zip(("before", "after"), documents, strict=True)))
        elif before:
            click.echo(f"Done: {after.describe().splitlines()[-1]}.")
    return _CLEAN


@indexes.command()
@_registry
@_common
def verify(registry: str, uri: str, database: str | None, *, as_json: bool) -> int:
    """Explain the queries declared with indexes; drift when another plan wins."""
    found = load_registry(registry)
    with _connected(uri, database) as db:
        try:
            queries = found.verify_sync(db)
        except IndexNotUsed as error:
            queries = error.queries
        _show(
            {"queries": [served_document(item) for item in queries]},
            [item.describe() for item in queries] or ["No query is declared."],
            as_json=as_json,
        )
    return _DRIFT if any(item.fault for item in queries) else _CLEAN


@indexes.command()
@_registry
@_common
@click.option("--observed", callback=_seconds, default="7d", show_default=True, help=_OBSERVED)
def unused(registry: str, uri: str, database: str | None, *, as_json: bool, observed: float) -> int:
    """List indexes that no query has used on any member."""
    found = load_registry(registry)
    with _connected(uri, database) as db:
        without_use = found.unused_sync(db, observed=0)
        idle = [item for item in without_use if item.counted_for >= observed]
        young = [item for item in without_use if item.counted_for < observed]
        documents = {
            "unused": [unused_document(item) for item in idle],
            "undecided": [unused_document(item) for item in young],
        }
        _show(documents, unused_lines(idle, young, observed), as_json=as_json)
    return _DRIFT if idle else _CLEAN


@indexes.command()
@click.argument("registry", metavar="[MODULE:REGISTRY]", required=False)
@_common
def export(registry: str | None, uri: str, database: str | None, *, as_json: bool) -> int:
    """Print Python that declares what is there: in all collections, or in those of a registry."""
    collections = load_registry(registry).collections if registry else None
    with _connected(uri, database) as db:
        source = IndexRegistry.export_sync(db, collections=collections)
        _show({"source": source}, source.splitlines(), as_json=as_json)
    return _CLEAN


@contextmanager
def _connected(uri: str, database: str | None) -> Iterator[Database[Document]]:
    options = PoolOptions.from_uri(uri, min_size=0, app_name="symphonia-perf")
    with create_client(options) as client, told_when_waiting(client):
        try:
            db = client.get_default_database() if database is None else client[database]
        except DriverConfigurationError as error:
            raise ConfigurationError(
                "which database? Say --database NAME, or end the URI with /NAME"
            ) from error
        except InvalidName as error:
            raise ConfigurationError(f"--database={database!r}: {error}") from error
        yield db


def _show_plan(database: str, made: IndexPlan, *, as_json: bool) -> None:
    if as_json:
        print_json(plan_document(database, made))
    else:
        print_plan(made)


def _show(document: Document, lines: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        print_json(document)
    else:
        click.echo("\n".join(lines))
