"""A collection without a server, for unit tests of code that awaits PyMongo."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from symphonia_perf.typing import Document

__all__ = ["RecordedCall", "RecordingCollection"]


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """One call of a collection's method."""

    method: str
    arguments: Document  # by the driver's names, without those that were not given


class RecordingCollection:
    """Stands for an `AsyncCollection`: gives canned documents, and notes what it was asked.

    It filters and sorts nothing; only a limit is kept to, because pages depend on it. What a filter
    finds is a question for a real server, see `symphonia_perf.testing.servers`.

    ```python
    from typing import Any

    from symphonia_perf.mongo import Query
    from symphonia_perf.testing import RecordingCollection

    orders: Any = RecordingCollection([{"_id": 1}, {"_id": 2}])
    page = await Query({"status": "OPEN"}).sort("_id").limit(1).page(orders)
    assert page.items == [{"_id": 1}] and page.has_next
    (call,) = orders.calls
    assert (call.method, call.arguments["limit"]) == ("find", 2)
    ```

    Args:
        documents: what find, find_one and aggregate give.
        name: the collection's name.
        count: what it counts; default: the number of documents.
        error: what every call raises instead, once it is awaited.
    """

    def __init__(
        self,
        documents: Sequence[Mapping[str, Any]] = (),
        *,
        name: str = "recorded",
        count: int | None = None,
        error: Exception | None = None,
    ) -> None:
        self.name = name
        self.full_name = f"test.{name}"
        self.calls: list[RecordedCall] = []
        self._documents = documents
        self._count = len(documents) if count is None else count
        self._error = error

    @property
    def codec_options(self) -> Any:
        """The driver's defaults."""
        from bson.codec_options import DEFAULT_CODEC_OPTIONS  # noqa: PLC0415 - only here

        return DEFAULT_CODEC_OPTIONS

    def with_options(self, **options: Any) -> "RecordingCollection":
        """The same collection; the options are noted."""
        return self._note("with_options", options)

    def find(self, filter: Any = None, projection: Any = None, **more: Any) -> "_Cursor":  # noqa: A002
        """A cursor over the canned documents, as many as the limit allows."""
        self._note("find", {"filter": filter, "projection": projection, **more})
        return _Cursor(self._documents[: more.get("limit") or None], self._error)

    async def find_one(
        self,
        filter: Any = None,  # noqa: A002 - the driver's word
        projection: Any = None,
        **more: Any,
    ) -> Document | None:
        """The first canned document, None where there is none."""
        self._note("find_one", {"filter": filter, "projection": projection, **more})
        found = await _Cursor(self._documents[:1], self._error).to_list()
        return found[0] if found else None

    async def aggregate(self, pipeline: Sequence[Mapping[str, Any]], **more: Any) -> "_Cursor":
        """A cursor over the canned documents."""
        self._note("aggregate", {"pipeline": pipeline, **more})
        return _Cursor(self._documents, self._error)

    async def count_documents(self, filter: Any, **more: Any) -> int:  # noqa: A002
        """The canned count, up to the limit."""
        self._note("count_documents", {"filter": filter, **more})
        return min(self._counted(), more.get("limit") or self._count)

    async def estimated_document_count(self, **more: Any) -> int:
        """The canned count."""
        self._note("estimated_document_count", more)
        return self._counted()

    def _counted(self) -> int:
        if self._error is not None:
            raise self._error
        return self._count

    def _note(self, method: str, arguments: Document) -> "RecordingCollection":
        given = {name: value for name, value in arguments.items() if value is not None}
        self.calls.append(RecordedCall(method, given))
        return self


class _Cursor:
    def __init__(self, documents: Sequence[Mapping[str, Any]], error: Exception | None) -> None:
        self._documents = documents
        self._error = error

    async def __aiter__(self) -> AsyncIterator[Document]:
        if self._error is not None:
            raise self._error
        for document in self._documents:
            yield dict(document)

    async def to_list(self, length: int | None = None) -> list[Document]:
        """The documents, at most `length`."""
        return [document async for document in self][:length]
