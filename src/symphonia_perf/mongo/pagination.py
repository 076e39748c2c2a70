"""Pages: the part of a list that a screen shows, and tokens for the parts around it.

`Query.page` and `Query.page_sync` are the way to one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from symphonia_perf._core.events import Event, Warn

__all__ = ["DeepPageEvent", "Page"]

D = TypeVar("D", bound=Mapping[str, Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[D]):
    """One page of a query's documents, in the query's order.

    ```python
    from symphonia_perf.mongo import Page

    page = Page(items=[{"_id": 1}], next="AbC", total=1000, total_is_exact=False)
    assert page.has_next and not page.has_previous
    assert f"{page.total}{'' if page.total_is_exact else '+'}" == "1000+"
    ```
    """

    items: list[D]  # at most the query's limit
    next: str | None = None  # the token for what comes behind; None: nothing did
    previous: str | None = None  # the token for what comes in front; None: nothing did
    total: int | None = None  # documents of the whole query; None: not asked for
    total_is_exact: bool = True  # False: estimated, or counting stopped at 1,000

    @property
    def has_next(self) -> bool:
        """Whether there was more behind this page when it was read."""
        return self.next is not None

    @property
    def has_previous(self) -> bool:
        """Whether there was more in front of this page when it was read."""
        return self.previous is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepPageEvent(Event):
    """A page was asked for by its number, and the server had to count its way there."""

    collection: str
    number: int  # of the page, from 1
    skipped: int  # documents that the server read and threw away

    def warning(self) -> Warn:
        """The collection, and what to use instead."""
        return Warn(
            f"page of {self.collection}",
            f"skipped {self.skipped} documents",
            f"page {self.number} by its number; by a page's next token it costs what page 1 costs",
        )
