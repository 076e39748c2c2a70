"""What works but deserves a second look: redundant indexes, twins, the limit, unserved sorts."""

from collections.abc import Iterator, Mapping, Sequence

from symphonia_perf.mongo._normalise import Form
from symphonia_perf.mongo._serving import sort_fault
from symphonia_perf.typing import Document

__all__ = ["MAX_INDEXES", "advice", "redundant"]

# Of one collection, with `_id_`:
# https://www.mongodb.com/docs/manual/reference/limits/#mongodb-limit-Number-of-Indexes-per-Collection
MAX_INDEXES = 64
_NEAR_LIMIT = 58  # nine in ten: time to think about a second collection or a wildcard index
_TURNED = {"1": "-1", "-1": "1"}


def advice(
    forms: Sequence[Form],
    others: Sequence[Form],
    queries: Mapping[str, Sequence[Document]],
    *,
    total: int,
) -> Iterator[tuple[str, str]]:
    """Index name and the end of a sentence that begins with it.

    Args:
        forms: the declared indexes of one collection.
        others: what the collection has; the declared ones may be among them.
        queries: what each declared index shall serve, as `find()` takes it.
        total: how many indexes there will be, with `_id_`.
    """
    names = {form.name for form in forms}
    undeclared = [form for form in others if form.name not in names]
    yield from redundant([*forms, *undeclared])
    for form in forms:
        for other in undeclared:
            if other.key == form.key and other.identity != form.identity and not form.is_text:
                yield (
                    form.name,
                    f"has the key of the undeclared {other.name!r}: both will be maintained",
                )
        for query in queries.get(form.name, ()):
            if fault := sort_fault(form.key, query):
                yield form.name, fault
    if forms and total >= _NEAR_LIMIT:
        yield forms[-1].name, f"is one of {total} indexes: MongoDB allows {MAX_INDEXES}"


def redundant(forms: Sequence[Form]) -> Iterator[tuple[str, str]]:
    """Indexes whose every query a longer one serves as well."""
    for form in forms:
        longer = next((other for other in forms if _serves(other, form)), None)
        if longer is not None:
            yield (
                form.name,
                f"is a prefix of {longer.name!r}: it costs writes and memory for nothing",
            )


def _serves(longer: Form, shorter: Form) -> bool:
    """Whether every query on `shorter` finds the same documents and order in `longer`.

    Any option but a longer index's `unique` changes what an index holds or does, so it must be the
    same on both; a unique, sparse, expiring or hidden shorter one has a reason of its own.
    """
    options = {option: value for option, value in longer.options.items() if option != "unique"}
    if shorter.options != options or options.keys() & {"sparse", "hidden"}:
        return False
    if any(kind not in _TURNED or "$**" in path for path, kind in longer.key):
        return False
    prefix = longer.key[: len(shorter.key)]
    turned = tuple((path, _TURNED[kind]) for path, kind in prefix)
    return len(shorter.key) < len(longer.key) and shorter.key in {prefix, turned}
