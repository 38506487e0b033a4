"""Tables in and out: rows of lists, pandas and polars, and their answers as columns.

Neither library is imported here; a table brings its own.
"""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from ollmlx.errors import BadRequest

ANSWER, ERROR = "answer", "error"


@dataclass(frozen=True)
class Outcome:
    """One row's value, or why it has none."""

    value: Any
    error: str = ""


@dataclass(frozen=True)
class Table:
    rows: Sequence[Any]
    """Of a frame, mappings from column to value."""
    build: Callable[[Sequence[Outcome]], Any]
    """Puts outcomes, one a row, into a table of the same kind."""


def table(rows: Any) -> Table:
    """Raises `BadRequest` for what has no rows."""
    kind, name = type(rows).__module__.partition(".")[0], type(rows).__name__
    match kind, name:
        case "pandas", "DataFrame":
            return Table(rows.to_dict("records"), lambda outcomes: _pandas(rows.index, outcomes))
        case "pandas", "Series" | "Index":
            index = rows.index if name == "Series" else rows
            return Table(rows.tolist(), lambda outcomes: _pandas(index, outcomes))
        case "polars", "DataFrame":
            return Table(rows.to_dicts(), _polars)
        case "polars", "Series":
            return Table(rows.to_list(), _polars)
    if isinstance(rows, str | bytes | Mapping) or not isinstance(rows, Iterable):
        raise BadRequest(f"a list, a Series or a DataFrame has rows, {name} has not")
    return Table(list(rows), lambda outcomes: [outcome.value for outcome in outcomes])


def _pandas(index: Any, outcomes: Sequence[Outcome]) -> Any:
    pandas = sys.modules["pandas"]
    columns = _columns(outcomes)
    if columns is None:
        answers = pandas.Series([o.value for o in outcomes], index=index, name=ANSWER)
        answers.attrs["errors"] = {row: o.error for row, o in enumerate(outcomes) if o.error}
        return answers
    return pandas.DataFrame(columns, index=index)


def _polars(outcomes: Sequence[Outcome]) -> Any:
    polars = sys.modules["polars"]
    columns = _columns(outcomes)
    if columns is None:
        values = [_plain(o.value) for o in outcomes]
        return polars.Series(ANSWER, values, strict=False)
    return polars.DataFrame(columns, strict=False)


def _columns(outcomes: Sequence[Outcome]) -> dict[str, list[Any]] | None:
    """A column a field, and one for errors if there are any; None for values without fields."""
    records = [None if o.error else _plain(o.value) for o in outcomes]
    if not all(record is None or isinstance(record, dict) for record in records):
        return None
    names = dict.fromkeys(name for record in records for name in record or ())
    if not names:
        return None
    columns = {name: [(record or {}).get(name) for record in records] for name in names}
    errors = [outcome.error or None for outcome in outcomes]
    return {**columns, ERROR: errors} if any(errors) else columns


def _plain(value: Any) -> Any:
    """Dataclasses, Structs and pydantic models as dicts, enums as their values."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    return msgspec.to_builtins(value, builtin_types=(bytes,))
