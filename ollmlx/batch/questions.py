"""The prompts of a batch: a template and rows make one for each row."""

from collections.abc import Callable, Mapping, Sequence
from math import isnan
from typing import Any

from ollmlx.batch.braces import fill
from ollmlx.errors import BadRequest

Prompt = str | Callable[[Any], str]


def questions(prompt: Prompt, rows: Sequence[Any]) -> dict[int, str]:
    """By the number of the row.  A missing value is an empty text; a row that has nothing else for
    the prompt is not asked about.

    Raises `BadRequest` for a template that has no field, or one that a row does not.
    """
    if callable(prompt):
        return {number: _made(prompt, row) for number, row in enumerate(rows)}
    asked = {}
    for number, row in enumerate(rows):
        missed: list[bool] = []
        question = fill(prompt, _reader(row, missed), bare=True)
        if not missed:
            raise BadRequest(
                "the prompt has no field, so every row would be asked the same; "
                "{} is the row, {name} one of its columns"
            )
        if not all(missed):
            asked[number] = question
    return asked


def is_missing(value: Any) -> bool:
    """None, and what pandas has for it: NaN, NA, NaT."""
    if isinstance(value, float):
        return isnan(value)
    return value is None or type(value).__name__ in ("NAType", "NaTType")


def _made(prompt: Callable[[Any], str], row: Any) -> str:
    made = prompt(row)
    if not isinstance(made, str):
        raise BadRequest(f"the function made {type(made).__name__} of a row, not a prompt")
    return made


def _reader(row: Any, missed: list[bool]) -> Callable[[str, int], tuple[str, int]]:
    """Looks the names of fields up in one row, and notes which have no value there."""

    def read(text: str, start: int) -> tuple[str, int]:
        end = text.find("}", start)
        name = text[start:end] if end >= 0 else text[start:]
        value = _value(row, name)
        missed.append(is_missing(value))
        return "" if missed[-1] else str(value), end

    return read


def _value(row: Any, name: str) -> Any:
    """Raises `BadRequest`."""
    if not name:
        return row
    if not isinstance(row, Mapping):
        raise BadRequest(
            f"{{{name}}} names a column and the rows have none; {{}} is the row, "
            f"{{{{{name}}}}} the text itself"
        )
    if name not in row:
        there = ", ".join(map(str, row))
        raise BadRequest(
            f"no column is called {name!r}; there are {there}.  {{{{{name}}}}} is the text itself"
        )
    return row[name]
