"""A report as one HTML file: no script, no font, no image from anywhere else."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from symphonia_perf.errors import ConfigurationError
from symphonia_perf.loadtest._axis import escaped

__all__ = ["Chart", "Highlight", "Report", "Section", "Table"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Highlight:
    """One figure that the reader should remember.

    ```python
    from symphonia_perf.loadtest import Highlight

    Highlight(label="p99 latency at 200/s", before="1.4 s", after="12 ms", note="117 times less")
    ```
    """

    label: str
    after: str  # the figure itself, shown large
    before: str = ""  # what it was; default not shown
    note: str = ""  # one short line below; default none


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of text. The first column names the row; the others are set like figures.

    ```python
    from symphonia_perf.loadtest import Table

    Table(caption="Latency", head=("", "before", "after"), rows=(("p99", "1.4 s", "12 ms"),))
    ```

    Raises:
        ConfigurationError: a row has not one cell per column.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""  # default none

    def __post_init__(self) -> None:
        """Check the shape."""
        for row in self.rows:
            if len(row) != len(self.head):
                raise ConfigurationError(f"rows={row!r}: expected {len(self.head)} cells")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A chart that `bar_chart` or `percentile_chart` drew.

    ```python
    from symphonia_perf.loadtest import Chart, bar_chart

    Chart(svg=bar_chart("p99", ["100/s"], {"A": [0.2]}), caption="p99 latency, shorter is better")
    ```
    """

    svg: str  # put into the page as it is
    caption: str = ""  # default none


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A heading and what stands below it. Text is a paragraph; charts in a row share the width.

    ```python
    from symphonia_perf.loadtest import Section

    Section(title="Method", blocks=("Both services ran on one machine, by turns.",))
    ```
    """

    title: str
    blocks: Sequence[str | Table | Chart]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One page that explains a measurement, in light or dark, on paper or a phone.

    ```python
    from symphonia_perf.loadtest import Highlight, Report, Section

    report = Report(
        title="Orders service",
        lead="Before and after, measured on two cores.",
        highlights=(Highlight(label="p99 at 200/s", before="1.4 s", after="12 ms"),),
        sections=(Section(title="Method", blocks=("Open loop, interleaved.",)),),
    )
    html = report.html()  # Path("report.html").write_text(html, encoding="utf-8")
    ```
    """

    title: str
    sections: Sequence[Section]
    lead: str = ""  # one or two sentences below the title; default none
    highlights: Sequence[Highlight] = ()  # figures before the first section; default none
    footer: str = ""  # versions, machine, date; default none

    def html(self) -> str:
        """The whole page."""
        style = files("symphonia_perf.loadtest").joinpath("report.css").read_text("utf-8")
        lead = f'<p class="lead">{escaped(self.lead)}</p>' if self.lead else ""
        footer = f"<footer>{escaped(self.footer)}</footer>" if self.footer else ""
        return (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            '<meta name="color-scheme" content="light dark">\n'
            f"<title>{escaped(self.title)}</title>\n<style>\n{style}</style>\n</head>\n"
            f"<body>\n<main>\n<header><h1>{escaped(self.title)}</h1>{lead}</header>\n"
            f"{_highlights(self.highlights)}"
            f"{''.join(map(_section, self.sections))}{footer}\n</main>\n</body>\n</html>\n"
        )


def _highlights(highlights: Sequence[Highlight]) -> str:
    if not highlights:
        return ""
    items = []
    for item in highlights:
        before = f'<span class="was">{escaped(item.before)}</span> ' if item.before else ""
        arrow = '<span class="arrow" aria-label="to">→</span> ' if before else ""
        note = f'<dd class="note">{escaped(item.note)}</dd>' if item.note else ""
        items.append(
            f"<div><dt>{escaped(item.label)}</dt>"
            f"<dd>{before}{arrow}<strong>{escaped(item.after)}</strong></dd>{note}</div>"
        )
    return f'<dl class="highlights">{"".join(items)}</dl>\n'


def _section(section: Section) -> str:
    parts: list[str] = []
    charts: list[str] = []
    for block in section.blocks:
        if isinstance(block, Chart):
            charts.append(_chart(block))
            continue
        parts.append(_charts(charts))
        charts = []
        parts.append(_table(block) if isinstance(block, Table) else f"<p>{escaped(block)}</p>\n")
    parts.append(_charts(charts))
    return f"<section>\n<h2>{escaped(section.title)}</h2>\n{''.join(parts)}</section>\n"


def _charts(charts: Sequence[str]) -> str:
    return f'<div class="charts">{"".join(charts)}</div>\n' if charts else ""


def _chart(chart: Chart) -> str:
    caption = f"<figcaption>{escaped(chart.caption)}</figcaption>" if chart.caption else ""
    return f"<figure>{caption}{chart.svg}</figure>"


def _table(table: Table) -> str:
    caption = f"<caption>{escaped(table.caption)}</caption>" if table.caption else ""
    head = "".join(f'<th scope="col">{escaped(cell)}</th>' for cell in table.head)
    rows = "".join(
        f'<tr><th scope="row">{escaped(row[0])}</th>'
        + "".join(f"<td>{escaped(cell)}</td>" for cell in row[1:])
        + "</tr>\n"
        for row in table.rows
    )
    # Focusable, so that the keyboard can scroll it too.
    label = escaped(table.caption or "Table")
    return (
        f'<div class="table" role="region" aria-label="{label}" tabindex="0"><table>{caption}'
        f"<thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table></div>\n"
    )
