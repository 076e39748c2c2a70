"""What to do about declared indexes, decided without a database."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, cast

from symphonia_perf.mongo._advice import MAX_INDEXES, advice
from symphonia_perf.mongo._findings import (
    CreateIndex,
    Declaration,
    DropIndex,
    ExistingIndexes,
    Finding,
    HideIndex,
    IndexClash,
    IndexWarning,
    KeptIndex,
    ModifyIndex,
    RetiringIndex,
    UnmanagedIndex,
)
from symphonia_perf.mongo._normalise import Form, Specification, normalise
from symphonia_perf.mongo._requirements import Version, missing_feature
from symphonia_perf.mongo._texts import value

__all__ = ["findings", "repetitions"]

# A collation that no collection has: under it, only what is one index everywhere is one index.
_ANY_COLLATION = {"locale": "inherited"}

_Item: TypeAlias = tuple[Form, Specification]


def findings(
    declared: Mapping[str, Declaration],
    existing: Mapping[str, ExistingIndexes],
    *,
    server: Version | None = None,
) -> list[Finding]:
    """Everything about the declared collections; one that is missing has no indexes."""
    return [
        finding
        for collection, declaration in declared.items()
        for finding in _Collection.of(
            collection, declaration, existing.get(collection, ExistingIndexes()), server
        ).findings()
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Collection:
    """One collection's declarations beside what it has."""

    name: str
    declaration: Declaration
    existing: ExistingIndexes
    server: Version | None
    declared: Sequence[_Item]
    present: Sequence[_Item]  # without `_id_`

    @classmethod
    def of(
        cls,
        name: str,
        declaration: Declaration,
        existing: ExistingIndexes,
        server: Version | None,
    ) -> "_Collection":
        return cls(
            name=name,
            declaration=declaration,
            existing=existing,
            server=server,
            declared=[
                (normalise(item, inherited=existing.collation), item)
                for item in declaration.indexes
            ],
            # `_id_` is the server's own; a clustered collection may call it otherwise.
            present=[
                (normalise(item), item)
                for item in existing.indexes
                if dict(item["key"]) != {"_id": 1}
            ],
        )

    def findings(self) -> Iterator[Finding]:
        """Every fact, the declared indexes in their order first."""
        # Two declarations can become one index under the collection's collation, so what will be
        # created stands in the way of later declarations too.
        standing = list(self.present)
        met: set[str] = set()
        for item in self.declared:
            rivals = _rivals(item[0], standing)
            met.update(form.name for form, _ in rivals[:1])
            finding = self._about(item, rivals, room=len(standing) < MAX_INDEXES - 1)
            if not rivals and isinstance(finding, CreateIndex):
                standing.append(item)
            yield finding
        for form, specification in self.present:
            if form.name in met:
                continue
            if form.name in self.declaration.retired:
                yield self._about_retired(form, specification)
            else:
                yield UnmanagedIndex(collection=self.name, specification=specification)
        forms = [form for form, _ in self.declared]
        if forms and self.existing.absent:
            yield IndexWarning(
                collection=self.name, name=forms[0].name, reason=self.existing.absent
            )
        others = [form for form, _ in self.present if form.name not in self.declaration.retired]
        for name, reason in advice(
            forms, others, self.declaration.queries, total=len(standing) + 1
        ):
            yield IndexWarning(collection=self.name, name=name, reason=reason)

    def _about(self, item: _Item, rivals: Sequence[_Item], *, room: bool) -> Finding:
        """What becomes of one declared index beside those that stand in its way."""
        form, declared = item
        if not rivals:
            lacking = missing_feature(form, None, self.server)
            if lacking or not room:
                reason = lacking or f"would be one too many: MongoDB allows {MAX_INDEXES} indexes"
                return self._clash(declared, None, reason, None if lacking else 67)
            return CreateIndex(collection=self.name, specification=declared)
        rival, existing = rivals[0]
        building = rival.name in self.existing.building
        if rival == form:
            if building:
                return CreateIndex(collection=self.name, specification=declared, building=True)
            return KeptIndex(collection=self.name, specification=declared)
        if len(rivals) == 1 and not building and (options := _modification(form, rival)):
            if lacking := missing_feature(form, rival, self.server):
                return self._clash(declared, existing, lacking, None)
            return ModifyIndex(
                collection=self.name, specification=declared, existing=existing, options=options
            )
        reason, code = _contradiction(form, rival, _differences(form, declared, rival, existing))
        replaceable = rival.name == form.name or rival.name in self.declaration.retired
        gap = len(rivals) == 1 and not building and replaceable and rivals[0] in self.present
        return self._clash(declared, existing, reason, code, gap=gap)

    def _clash(
        self,
        declared: Specification,
        existing: Specification | None,
        reason: str,
        code: int | None,
        *,
        gap: bool = False,
    ) -> IndexClash:
        return IndexClash(
            collection=self.name,
            declared=declared,
            existing=existing,
            reason=reason,
            code=code,
            gap=gap,
        )

    def _about_retired(self, form: Form, specification: Specification) -> Finding:
        """Hide it, observe it, drop it; the record says since when it has been hidden."""
        observe = self.declaration.retired[form.name]
        hidden_for = self.existing.hidden_for.get(form.name)
        if "hidden" not in form.options:
            if hidden_for is None:
                return HideIndex(collection=self.name, specification=specification, observe=observe)
            return IndexWarning(
                collection=self.name,
                name=form.name,
                reason="was hidden and somebody made it visible again: declare it, or delete its "
                "record to hide it once more",
            )
        if hidden_for is None:  # by hand, or we were interrupted: the observation begins now
            return HideIndex(collection=self.name, specification=specification, observe=observe)
        if hidden_for >= observe:
            return DropIndex(
                collection=self.name, specification=specification, hidden_for=hidden_for
            )
        return RetiringIndex(
            collection=self.name,
            specification=specification,
            hidden_for=hidden_for,
            observe=observe,
        )


def _rivals(form: Form, standing: Sequence[_Item]) -> list[_Item]:
    """The indexes that are `form` already or keep it out, the one that the server names first.

    The server looks at the name first, and has room for one text index per collection.
    """
    by_name = [item for item in standing if item[0].name == form.name]
    by_identity = [item for item in standing if item[0].identity == form.identity]
    by_text = [item for item in standing if item[0].is_text and form.is_text]
    met: dict[str, _Item] = {}
    for item in (*by_name, *by_identity, *by_text):
        met.setdefault(item[0].name, item)
    return list(met.values())


def _modification(form: Form, existing: Form) -> dict[str, bool | int]:
    """What collMod is told to make `existing` into `form`; empty where it cannot."""
    differing = {
        option
        for option in {**form.options, **existing.options}
        if form.options.get(option) != existing.options.get(option)
    }
    told: dict[str, bool | int] = {}
    if "expireAfterSeconds" in form.options:
        told["expireAfterSeconds"] = cast("int", form.options["expireAfterSeconds"])
    told["hidden"] = "hidden" in form.options
    if "unique" in form.options:
        told["unique"] = True
        differing.discard("prepareUnique")  # conversion ends it
    elif "unique" not in differing:
        told["prepareUnique"] = "prepareUnique" in form.options
    possible = form.name == existing.name and form.key == existing.key and differing <= told.keys()
    return {option: wanted for option, wanted in told.items() if possible and option in differing}


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
        option: " instead of ".join(value(item.get(option)) for item in (existing, declared))
        for option in differing
    }


def _contradiction(form: Form, other: Form, differences: dict[str, str]) -> tuple[str, int]:
    """Why `form` cannot be created beside `other`, and the server's code for it (measured)."""
    told = ", ".join(f"{option} {values}" for option, values in differences.items())
    if form.name != other.name:
        if form.is_text and told:
            code = 85 if form.identity == other.identity else 67
            return f"is a second text index beside {other.name!r}: MongoDB allows one", code
        but = f" with {told}" if told else ""
        return f"exists under the name {other.name!r}{but}: declare it by that name", 85
    if form.identity != other.identity:
        return f"exists with {told}: declare the new index under a new name", 86
    return f"exists with {told}: only dropping and building it again changes that", 85
