from typing import Any

import pytest

from symphonia_perf.errors import ProjectionError
from symphonia_perf.mongo.projection import project


@pytest.mark.parametrize(
    ("fields", "projection"),
    [
        (("a",), {"a": 1}),
        (("a.b", "a.c", "ab"), {"a.b": 1, "a.c": 1, "ab": 1}),
        (("-_id", "a"), {"_id": 0, "a": 1}),
        (("_id",), {"_id": 1}),
        (("_id.part",), {"_id.part": 1}),
        (("owner.$id",), {"owner.$id": 1}),
        (("2024", "a.b2"), {"2024": 1, "a.b2": 1}),
        (({"a": 1, "b": True},), {"a": 1, "b": 1}),
        (({"_id": 0, "a": 1},), {"_id": 0, "a": 1}),
        (({"_id": False, "a": 1},), {"_id": 0, "a": 1}),
        (("a", {"b": ["c", {"d": ["e"]}]}), {"a": 1, "b.c": 1, "b.d.e": 1}),
        (({"b": {"c.d": 1, "e": {"f": 1}}},), {"b.c.d": 1, "b.e.f": 1}),
        (({"b.c": ("d",)},), {"b.c.d": 1}),
        (({"été": ["über"]},), {"été.über": 1}),
    ],
)
def test_named_fields_are_included(fields: tuple[str, ...], projection: dict[str, int]) -> None:
    assert project(*fields) == projection


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ((), "only() names no field to return"),
        (("-_id",), "only('-_id') names no field to return"),
        (("a", "-b"), "'-b': a projection names what to return, and only '-_id' can be left out"),
        (("a", "a"), "'a': 'a' is named twice"),
        (("_id", "-_id"), "'-_id': '_id' is named twice"),
        (("a", "a.b"), "'a.b' is part of 'a'; name one of them"),
        (("a.b.c", "x", "a"), "'a.b.c' is part of 'a'"),
        (("a.b", "a-b", "a.b.c"), "'a.b.c' is part of 'a.b'"),
        (("-_id", "_id.part"), "'_id.part' is part of '_id'"),
        (("",), "the field '' is empty"),
        (("a.",), "the field 'a.' has an empty part"),
        ((".a",), "the field '.a' has an empty part"),
        (("a..b",), "the field 'a..b' has an empty part"),
        (("$a",), "the field '$a' has a part that starts with '$'"),
        (("a.$",), "the field 'a.$' has a part that starts with '$'"),
        (("a\0",), "NUL"),
        ((b"a",), "the field b'a' is a bytes, expected a field's path"),
        ((1,), "the field 1 is a int"),
        ((["a"],), "['a']: name each field as an argument of its own, as in only('a', 'b')"),
        ((("a", "b"),), "('a', 'b'): name each field as an argument of its own"),
        (({"a": [["b"]]},), "the field ['b'] is a list"),
        ((dict,), "the field <class 'dict'> is a type"),
        (({},), "only({}) names no field to return"),
        (({"a": {}},), "'a': {} names no field in it"),
        (({"a": []},), "'a': [] names no field in it"),
        (({"a": 0},), "'a': a projection names what to return, and only '_id' can be left out"),
        (({"a": {"_id": False}},), "'a._id': a projection names what to return"),
        (({"a": None},), "'a': None would be returned in place of the field"),
        (({"a": "1"},), "'a': '1' would be returned in place of the field; expected 1"),
        (({"a": 2},), "'a': 2 would be returned in place of the field"),
        (({"a": 1.0},), "'a': 1.0 would be returned in place of the field"),
        (({"a": {"$slice": 3}},), "('$slice'); only field names belong here; an operator of"),
        (({"a": {"b.": 1}},), "the field 'b.' has an empty part"),
        (({"a": ["-b"]},), "'-b': a projection names what to return"),
        (({"a": ["0"]},), "'a.0': a projection cannot pick the element 0"),
        (({"a": ["b", 5]},), "the field 5 is a int"),
        (({1: 1},), "the field 1 is a int"),
        (({"a": 1}, "a.b"), "'a.b' is part of 'a'"),
        (("arr.0",), "'arr.0': a projection cannot pick the element 0 of an array"),
        (("a.arr.12.x",), "name 'a.arr' and pick it from the result"),
    ],
)
def test_what_the_server_refuses_or_misreads_is_refused(fields: Any, message: str) -> None:
    with pytest.raises(ProjectionError) as caught:
        project(*fields)
    assert message in str(caught.value)
