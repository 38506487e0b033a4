"""The prompts of a batch: a template and rows make one for each row."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ollmlx.batch.braces import fill
from ollmlx.errors import BadRequest

Prompt = str | Callable[[Any], str]


def questions(prompt: Prompt, rows: Sequence[Any]) -> list[str]:
    """Raises `BadRequest` for a template that has no field, or one that a row does not."""
    if callable(prompt):
        return [_made(prompt, row) for row in rows]
    fields: list[str] = []
    filled = [fill(prompt, _reader(row, fields), bare=True) for row in rows]
    if rows and not fields:
        raise BadRequest(
            "the prompt has no field, so every row would be asked the same; "
            "{} is the row, {name} one of its columns"
        )
    return filled


def _made(prompt: Callable[[Any], str], row: Any) -> str:
    made = prompt(row)
    if not isinstance(made, str):
        raise BadRequest(f"the function made {type(made).__name__} of a row, not a prompt")
    return made


def _reader(row: Any, fields: list[str]) -> Callable[[str, int], tuple[str, int]]:
    """Looks the names of fields up in one row, and notes them."""

    def read(text: str, start: int) -> tuple[str, int]:
        end = text.find("}", start)
        name = text[start:end] if end >= 0 else text[start:]
        fields.append(name)
        if not name:
            return str(row), end
        if not isinstance(row, Mapping):
            raise BadRequest(
                f"{{{name}}} names a column and the rows have none; {{}} is the row, "
                f"{{{{{name}}}}} the text itself"
            )
        if name not in row:
            there = ", ".join(map(str, row))
            raise BadRequest(
                f"no column is called {name!r}; there are {there}.  "
                f"{{{{{name}}}}} is the text itself"
            )
        return str(row[name]), end

    return read
