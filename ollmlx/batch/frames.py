"""Tables in and out: rows of lists, pandas and polars, and their answers as columns.

Neither library is imported here; a table brings its own.
"""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
from pydantic_core import to_jsonable_python

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


def table(rows: Any, wide: bool = False) -> Table:
    """With `wide`, pandas and polars get a frame whatever the answers are.

    Raises `BadRequest` for what has no rows.
    """
    kind, name = type(rows).__module__.partition(".")[0], type(rows).__name__
    match kind, name:
        case "pandas", "DataFrame":
            return Table(rows.to_dict("records"), partial(_pandas, rows.index, wide))
        case "pandas", "Series" | "Index":
            index = rows.index if name == "Series" else rows
            return Table(rows.tolist(), partial(_pandas, index, wide))
        case "polars", "DataFrame":
            return Table(rows.to_dicts(), partial(_polars, wide))
        case "polars", "Series":
            return Table(rows.to_list(), partial(_polars, wide))
    if isinstance(rows, str | bytes | Mapping) or not isinstance(rows, Iterable):
        raise BadRequest(f"a list, a Series or a DataFrame has rows, {name} has not")
    return Table(list(rows), lambda outcomes: [outcome.value for outcome in outcomes])


def _pandas(index: Any, wide: bool, outcomes: Sequence[Outcome]) -> Any:
    pandas = sys.modules["pandas"]
    columns = _columns(outcomes, wide)
    if columns is None:
        answers = pandas.Series([o.value for o in outcomes], index=index, name=ANSWER)
        answers.attrs["errors"] = {row: o.error for row, o in enumerate(outcomes) if o.error}
        return answers
    return pandas.DataFrame(columns, index=index)


def _polars(wide: bool, outcomes: Sequence[Outcome]) -> Any:
    polars = sys.modules["polars"]
    columns = _columns(outcomes, wide)
    if columns is None:
        values = [_plain(o.value) for o in outcomes]
        return polars.Series(ANSWER, values, strict=False)
    return polars.DataFrame(columns, strict=False)


def _columns(outcomes: Sequence[Outcome], wide: bool) -> dict[str, list[Any]] | None:
    """A column a field, and one for errors if there are any; values without fields are None, or
    with `wide` a single column.
    """
    records = [None if o.error else _plain(o.value) for o in outcomes]
    fields = [record for record in records if isinstance(record, dict)]
    if not any(fields) or len(fields) < sum(record is not None for record in records):
        if not wide:
            return None
        columns = {ANSWER: records}
    else:
        names = dict.fromkeys(name for record in fields for name in record)
        columns = {name: [(record or {}).get(name) for record in records] for name in names}
    errors = [outcome.error or None for outcome in outcomes]
    return {**columns, ERROR: errors} if any(errors) else columns


def _plain(value: Any) -> Any:
    """Dataclasses, Structs and pydantic models as dicts, enums as their values."""
    return msgspec.to_builtins(value, builtin_types=(bytes,), enc_hook=to_jsonable_python)
