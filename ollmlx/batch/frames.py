"""Tables in and out: rows of lists, pandas and polars, and their answers as columns.

Neither library is imported here; a table brings its own.
"""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, count
from typing import Any

import msgspec
from pydantic_core import to_jsonable_python

from ollmlx.errors import BadRequest

ANSWER, ERROR = "answer", "error"
_SUFFIX = "_answer"
"""Of a new column whose name is taken."""


@dataclass(frozen=True)
class Outcome:
    """One row's value, or why it has none."""

    value: Any
    error: str = ""


@dataclass(frozen=True)
class Table:
    rows: Sequence[Any]
    """Of a frame, mappings from column to value."""
    build: Callable[[Sequence[Outcome], Any], Any]
    """Puts outcomes, one a row, into a table of the same kind.  An example of a value tells the
    columns and their types where no row has one.
    """


def table(rows: Any, wide: bool = False) -> Table:
    """With `wide`, pandas and polars get a frame whatever the answers are.

    Raises `BadRequest` for what has no rows.
    """
    pandas, polars = sys.modules.get("pandas"), sys.modules.get("polars")
    if pandas and isinstance(rows, pandas.DataFrame):
        return Table(rows.to_dict("records"), partial(_pandas, rows.index, wide))
    if pandas and isinstance(rows, pandas.Series | pandas.Index):
        index = rows.index if isinstance(rows, pandas.Series) else rows
        return Table(rows.tolist(), partial(_pandas, index, wide))
    if polars and isinstance(rows, polars.DataFrame):
        return Table(rows.to_dicts(), partial(_polars, wide))
    if polars and isinstance(rows, polars.Series):
        return Table(rows.to_list(), partial(_polars, wide))
    if hasattr(rows, "to_pylist"):  # Arrow's
        rows = rows.to_pylist()
    if isinstance(rows, str | bytes | Mapping) or not isinstance(rows, Iterable):
        kind = type(rows).__name__
        raise BadRequest(f"a list, a Series or a DataFrame has rows, {kind} has not")
    return Table(list(rows), lambda outcomes, _: [outcome.value for outcome in outcomes])


def _pandas(index: Any, wide: bool, outcomes: Sequence[Outcome], example: Any) -> Any:
    pandas = sys.modules["pandas"]
    some = _some(outcomes, example)
    columns = _columns(some, wide)
    if columns is None:
        made = pandas.Series([outcome.value for outcome in some], name=ANSWER)
        made.attrs["errors"] = {row: o.error for row, o in enumerate(outcomes) if o.error}
    else:
        made = pandas.DataFrame(columns)
    return made.head(len(outcomes)).set_axis(index)


def _polars(wide: bool, outcomes: Sequence[Outcome], example: Any) -> Any:
    some = _some(outcomes, example)
    columns = _columns(some, wide)
    if columns is None:
        return _of_polars(ANSWER, [_plain(o.value) for o in some]).head(len(outcomes))
    made = sys.modules["polars"].DataFrame([_of_polars(*column) for column in columns.items()])
    return made.head(len(outcomes))


def _some(outcomes: Sequence[Outcome], example: Any) -> Sequence[Outcome]:
    """Where no row has a value, with one row more."""
    answered = any(outcome.value is not None for outcome in outcomes)
    return outcomes if answered else [*outcomes, Outcome(example)]


def _of_polars(name: str, values: Sequence[Any]) -> Any:
    """Values of several kinds as they are; polars would drop some and write others as text."""
    polars = sys.modules["polars"]
    kinds = {type(value) for value in values if value is not None}
    mixed = len(kinds) > 1 and not kinds <= {int, float}
    return polars.Series(name, values, dtype=polars.Object if mixed else None, strict=False)


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
    return {**columns, free([ERROR], columns)[ERROR]: errors} if any(errors) else columns


def free(names: Iterable[str], taken: Iterable[Any]) -> dict[str, str]:
    """A name that no column has for each of `names`."""
    used, found = set(taken), dict[str, str]()
    for name in names:
        tried = chain([name, name + _SUFFIX], (f"{name}{_SUFFIX}_{n}" for n in count(2)))
        found[name] = next(one for one in tried if one not in used)
        used.add(found[name])
    return found


def _plain(value: Any) -> Any:
    """Dataclasses, Structs and pydantic models as dicts, enums as their values."""
    return msgspec.to_builtins(value, builtin_types=(bytes,), enc_hook=to_jsonable_python)
