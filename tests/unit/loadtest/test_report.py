from html.parser import HTMLParser

import pytest

from symphonia_perf.errors import ConfigurationError
from symphonia_perf.loadtest import Chart, Highlight, Report, Section, Table, bar_chart

VOID = {"meta", "br"}


class Page(HTMLParser):
    """Checks that every element is closed in order, and collects what it saw."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def tags(self, name: str) -> list[dict[str, str | None]]:
        return [attrs for tag, attrs in self.seen if tag == name]


NASTY = "<script>alert('&')</script>"
FULL = Report(
    title=NASTY,
    lead=NASTY,
    footer=NASTY,
    highlights=(
        Highlight(label=NASTY, before=NASTY, after=NASTY, note=NASTY),
        Highlight(label="l", after="a"),
    ),
    sections=(
        Section(
            title=NASTY,
            blocks=(
                NASTY,
                Chart(svg=bar_chart(NASTY, [NASTY], {NASTY: [1.0]}), caption=NASTY),
                Chart(svg=bar_chart("b", [], {})),
                Table(head=(NASTY, "x"), rows=((NASTY, NASTY),), caption=NASTY),
                Table(head=("a", "b"), rows=()),
            ),
        ),
    ),
)


def test_a_page_is_well_formed_and_escapes_all_text() -> None:
    page = Page(FULL.html())
    assert page.tags("script") == []
    # title twice, lead, footer, 4 in highlights, heading, paragraph, caption of the chart,
    # 4 in the chart (title, description, category, series), 4 in the table; aria-label is no text.
    assert page.text.count("alert(") >= 19


def test_a_page_needs_nothing_from_elsewhere() -> None:
    html = FULL.html()
    page = Page(html)
    assert not [a for _, a in page.seen if {"src", "href"} & set(a)]
    assert "url(" not in html
    assert "@import" not in html
    assert html.count("http") == html.count("http://www.w3.org/2000/svg")


def test_a_page_fits_phones_and_dark_rooms() -> None:
    html = FULL.html()
    page = Page(html)
    viewport = {"name": "viewport", "content": "width=device-width, initial-scale=1"}
    assert viewport in page.tags("meta")
    assert "prefers-color-scheme: dark" in html
    assert "@media print" in html
    tables = [attrs for attrs in page.tags("div") if attrs.get("class") == "table"]
    assert [attrs["tabindex"] for attrs in tables] == ["0", "0"]
    assert tables[1]["aria-label"] == "Table"


def test_neighbouring_charts_share_a_row() -> None:
    rows = [attrs for attrs in Page(FULL.html()).tags("div") if attrs.get("class") == "charts"]
    assert len(rows) == 1


def test_what_is_not_given_is_not_there() -> None:
    page = Page(Report(title="t", sections=()).html())
    assert page.tags("footer") == page.tags("dl") == page.tags("p") == []


def test_rows_must_fit_the_head() -> None:
    with pytest.raises(ConfigurationError, match="expected 2 cells"):
        Table(head=("a", "b"), rows=(("1",),))
