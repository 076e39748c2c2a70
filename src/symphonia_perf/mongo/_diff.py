"""What to do about declared indexes, decided without a database."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

from symphonia_perf.mongo._findings import (
    CreateIndex,
    ExistingIndexes,
    Finding,
    IndexClash,
    IndexWarning,
    KeptIndex,
    UnmanagedIndex,
    shown_value,
)
from symphonia_perf.mongo._normalise import Form, Specification, normalise

__all__ = ["findings", "repetitions"]

# A collation that no collection has: under it, only what is one index everywhere is one index.
_ANY_COLLATION = {"locale": "inherited"}
_TURNED = {"1": "-1", "-1": "1"}


def findings(
    declared: Mapping[str, Sequence[Specification]], existing: Mapping[str, ExistingIndexes]
) -> list[Finding]:
    """Everything about the declared collections; one that is missing has no indexes."""
    return [
        finding
        for collection, specifications in declared.items()
        for finding in _findings(
            collection, specifications, existing.get(collection, ExistingIndexes())
        )
    ]


def repetitions(declared: Specification, other: Specification) -> Iterator[str]:
    """Why one collection cannot have both declarations, whatever its collation."""
    form, rival = (normalise(item, inherited=_ANY_COLLATION) for item in (declared, other))
    if form.name == rival.name:
        yield "is declared already: choose another name, or leave one out"
    if form.is_text and rival.is_text:
        yield f"is a second text index beside {rival.name!r}: MongoDB allows one"
    if form.identity == rival.identity:
        yield f"is the same index as {rival.name!r}: leave one out"


def _findings(
    collection: str, declared: Sequence[Specification], existing: ExistingIndexes
) -> Iterator[Finding]:
    """Every fact about one collection, the declared indexes in their order first."""
    forms = [normalise(item, inherited=existing.collation) for item in declared]
    # `_id_` is the server's own; a clustered collection may call it otherwise.
    present = [
        (normalise(item), item) for item in existing.indexes if dict(item["key"]) != {"_id": 1}
    ]
    # Two declarations can become one index under the collection's collation, so what will be
    # created stands in the way of later declarations too.
    standing = list(present)
    met = set()
    for form, item in zip(forms, declared, strict=True):
        if (rival := _rival(form, standing)) is None:
            standing.append((form, item))
            yield CreateIndex(collection=collection, specification=item)
            continue
        rival_form, rival_item = rival
        met.add(rival_form.name)
        if rival_form == form:
            yield KeptIndex(collection=collection, specification=item)
        else:
            reason, code = _contradiction(form, rival_form, _differences(form, item, *rival))
            yield IndexClash(
                collection=collection, declared=item, existing=rival_item, reason=reason, code=code
            )
    for form, item in present:
        if form.name not in met:
            yield UnmanagedIndex(collection=collection, specification=item)
    for name, reason in chain(_redundant(forms), _twins(forms, [form for form, _ in present])):
        yield IndexWarning(collection=collection, name=name, reason=reason)


def _rival(
    form: Form, standing: Sequence[tuple[Form, Specification]]
) -> tuple[Form, Specification] | None:
    """The index that is `form` already or keeps it out, None when there is room.

    The server looks at the name first, and has room for one text index per collection.
    """
    by_name = (rival for rival in standing if rival[0].name == form.name)
    by_identity = (rival for rival in standing if rival[0].identity == form.identity)
    by_text = (rival for rival in standing if rival[0].is_text and form.is_text)
    return next(chain(by_name, by_identity, by_text), None)


def _differences(
    form: Form, declared: Specification, other: Form, existing: Specification
) -> dict[str, str]:
    """Option -> "this instead of that", for all in which the two differ; the name is none."""
    differing = [
        option
        for option in {**form.options, **other.options}
        if form.options.get(option) != other.options.get(option)
    ]
    if form.key != other.key:
        differing.insert(0, "key")
    return {
        option: " instead of ".join(shown_value(item.get(option)) for item in (existing, declared))
        for option in differing
    }


def _contradiction(form: Form, other: Form, differences: dict[str, str]) -> tuple[str, int | None]:
    """Why `form` cannot be created beside `other`, and the server's code for it (measured)."""
    told = ", ".join(f"{option} {values}" for option, values in differences.items())
    if form.name != other.name:
        if form.identity != other.identity:
            return f"is a second text index beside {other.name!r}: MongoDB allows one", 67
        but = f" with {told}" if told else ""
        return f"exists under the name {other.name!r}{but}: declare it by that name", 85
    if form.identity != other.identity:
        return f"exists with {told}: declare the new index under a new name", 86
    if differences.keys() == {"hidden"}:
        return f"exists with {told}: createIndexes ignores that silently, collMod changes it", None
    if differences.keys() == {"expireAfterSeconds"}:
        return f"exists with {told}: createIndexes cannot change that, collMod can", 85
    return f"exists with {told}: only dropping and building it again changes that", 85


def _redundant(forms: Sequence[Form]) -> Iterator[tuple[str, str]]:
    """Declared indexes whose every query a longer declared index serves as well."""
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


def _twins(forms: Sequence[Form], present: Sequence[Form]) -> Iterator[tuple[str, str]]:
    """Declared indexes that will stand beside an undeclared one with the very same key."""
    names = {form.name for form in forms}
    for form in forms:
        for other in present:
            if (
                other.name not in names
                and other.key == form.key
                and other.identity != form.identity
                and not form.is_text
            ):
                yield (
                    form.name,
                    f"has the key of the undeclared {other.name!r}: both will be maintained",
                )
