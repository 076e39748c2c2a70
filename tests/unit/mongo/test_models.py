from collections.abc import Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from datetime import datetime
from typing import Annotated, Any, ClassVar, Generic, NotRequired, Optional, TypedDict, TypeVar

import pytest
from bson import ObjectId

from symphonia_perf.errors import ProjectionError
from symphonia_perf.mongo import Query
from symphonia_perf.mongo._models import model_paths
from symphonia_perf.mongo.projection import project

T = TypeVar("T")


class Place(TypedDict):
    city: str
    at: NotRequired[datetime]


@dataclass
class Item:
    weight: float
    kind: ClassVar[str] = "box"
    secret: InitVar[int] = 0
    place: Place | None = None


@dataclass
class Box(Generic[T]):
    inside: T


@dataclass
class Node:
    name: str
    children: "list[Node]" = field(default_factory=list)


@dataclass
class Tree:
    root: Node


@dataclass
class Bag(list[int]):
    size: int


class FieldInfo:
    """As pydantic describes a field."""

    def __init__(self, annotation: Any, alias: Any = None, validation_alias: Any = None) -> None:
        self.annotation = annotation
        self.alias = alias
        self.validation_alias = validation_alias or alias


class Carrier:
    """As a pydantic model looks from outside."""

    model_fields: ClassVar[dict[str, FieldInfo]] = {
        "id": FieldInfo(ObjectId, alias="_id"),
        "name": FieldInfo(str, alias="shown", validation_alias="carrierName"),
        "home": FieldInfo(Annotated[Place, "checked"]),
    }


class Carriers:
    __pydantic_root_model__ = True
    model_fields: ClassVar[dict[str, FieldInfo]] = {"root": FieldInfo(list[Carrier])}


class Names:
    __pydantic_root_model__ = True
    model_fields: ClassVar[dict[str, FieldInfo]] = {"root": FieldInfo(list[str])}


class Order(TypedDict, total=False):
    _id: ObjectId
    reference: str
    optional: Place | None
    spelled: Optional[Place]  # noqa: UP045 - it is still written
    listed: list[Place]
    sparse: Sequence[Place | None] | None
    fixed: tuple[Place, ...]
    many: set[Item]
    either: Place | Item
    maybe: Place | str
    mixed: list[Place | int]
    by_name: dict[str, Place]
    mapped: Mapping[str, Place]
    plain: list[str]
    bare: list  # type: ignore[type-arg]
    anything: Any
    generic: Box[int]
    carrier: Carrier
    tree: Tree


PLACE = ("city", "at")
ITEM = ("weight", "place.city", "place.at")


def below(name: str, *paths: str) -> list[str]:
    return [f"{name}.{path}" for path in paths]


def test_every_kind_of_field_becomes_the_paths_that_fill_it() -> None:
    assert model_paths(Order) == [
        "_id",
        "reference",
        *below("optional", *PLACE),
        *below("spelled", *PLACE),
        *below("listed", *PLACE),
        *below("sparse", *PLACE),
        *below("fixed", *PLACE),
        *below("many", *ITEM),
        *below("either", *PLACE, *ITEM),
        # What may be something else than a model is returned whole.
        "maybe",
        "mixed",
        "by_name",
        "mapped",
        "plain",
        "bare",
        "anything",
        "generic.inside",
        *below("carrier", "_id", "carrierName", "home.city", "home.at"),
        # A model inside itself is returned whole.
        "tree.root.name",
        "tree.root.children",
    ]


def test_root_models_stand_for_what_is_in_them() -> None:
    assert model_paths(Carriers) == model_paths(Carrier)
    assert model_paths(Names) is None


def test_a_model_that_is_also_a_list_is_read_by_its_fields() -> None:
    assert model_paths(Bag) == ["size"]

    class Luggage(TypedDict):
        bag: Bag

    assert model_paths(Luggage) == ["bag.size"]


@pytest.mark.parametrize("value", [str, int, ObjectId, datetime, object, Item(1.0), "Item", None])
def test_values_and_their_types_are_no_models(value: object) -> None:
    assert model_paths(value) is None


def test_a_query_returns_the_fields_of_a_model() -> None:
    query = Query().only(Item, "extra", {"from": Place, "to": [Place, "street"]})
    assert query.find_kwargs()["projection"] == dict.fromkeys(
        (*ITEM, "extra", *below("from", *PLACE), *below("to", *PLACE, "street")), 1
    )


def test_annotations_that_cannot_be_read_are_an_error() -> None:
    @dataclass
    class Hidden:
        place: "Nowhere"  # type: ignore[name-defined] # noqa: F821 - the subject

    with pytest.raises(ProjectionError, match=r"Hidden: its annotations cannot be read \(name 'No"):
        project(Hidden)


def test_an_alias_of_several_names_is_an_error() -> None:
    class Choice:
        model_fields: ClassVar = {"a": FieldInfo(str, validation_alias=("a", "b"))}

    with pytest.raises(ProjectionError, match=r"Choice\.a: the alias \('a', 'b'\) is not one name"):
        project(Choice)


def test_a_model_without_fields_names_nothing() -> None:
    class Empty(TypedDict):
        pass

    with pytest.raises(ProjectionError, match="names no field to return"):
        project(Empty)
    with pytest.raises(ProjectionError, match=r"'a': .*Empty.* names no field in it"):
        project({"a": Empty})
