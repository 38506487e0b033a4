"""Shapes of answers: what the server is told, and what Python gets."""

import re
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal, TypedDict

import msgspec
import pytest
from pydantic import BaseModel, Field, TypeAdapter

from ollmlx.batch.shapes import FREE, Misshapen, Shapeless, shape


@dataclass
class Point:
    x: int
    y: int = 0


class Town(TypedDict):
    name: str


class Colour(Enum):
    RED = "red"


class Person(BaseModel):
    name: str
    age: int


class Cat(msgspec.Struct):
    lives: int


@pytest.mark.parametrize(
    ("wanted", "text", "value"),
    [
        (Point, '{"x": 1, "y": 2}', Point(1, 2)),
        (Town, '{"name": "Oslo"}', {"name": "Oslo"}),
        (Colour, '"red"', Colour.RED),
        (Person, '{"name": "Ann", "age": 7}', Person(name="Ann", age=7)),
        (Cat, '{"lives": 9}', Cat(9)),
        (list[Person | int], '[1, {"name": "A", "age": 7}]', [1, Person(name="A", age=7)]),
        (TypeAdapter(date), '"2026-01-31"', date(2026, 1, 31)),
        (Literal["yes", "no"], '"no"', "no"),
        (list[Point], '[{"x": 1}]', [Point(1)]),
        (int | None, "null", None),
        ({"type": "object"}, '{"a": [1]}', {"a": [1]}),
        ("json", '{"a": 1}', {"a": 1}),
        (re.compile(r"\d{4}"), "1815", "1815"),
        ({"type": "choice", "choices": ["a", "b"]}, "a", "a"),
    ],
)
def test_an_answer_is_read_as_what_was_asked_for(wanted: Any, text: str, value: Any):
    assert shape(wanted).read(text) == value


def test_the_server_gets_a_json_schema():
    assert shape(Literal["a", "b"]).format == {"enum": ["a", "b"], "type": "string"}
    assert shape(datetime).format == {"format": "date-time", "type": "string"}
    assert shape(set[Decimal]).format == {"items": {"type": "number"}, "type": "array"}
    assert shape(Annotated[int, Field(ge=1)]).format == {"minimum": 1, "type": "integer"}
    assert shape(Person).format["properties"].keys() == {"name", "age"}
    assert shape(re.compile(r"\d+")).format == {"type": "regex", "pattern": r"\d+"}
    assert shape(None) is FREE


@pytest.mark.parametrize(("wanted", "text"), [(Point, '{"x": 1'), (Person, "{}"), ("json", "")])
def test_an_answer_of_another_shape_is_shown(wanted: Any, text: str):
    with pytest.raises(Misshapen, match="not of the shape asked for"):
        shape(wanted).read(text)


@pytest.mark.parametrize("wanted", [3, "text", type("Own", (), {}), print])
def test_what_is_no_shape_is_refused(wanted: Any):
    with pytest.raises(Shapeless):
        shape(wanted)
