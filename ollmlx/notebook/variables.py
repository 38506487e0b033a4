"""What a cell takes from the notebook's variables: text for its prompt, a shape for its answer."""

import ast
import json
from collections.abc import Mapping
from keyword import iskeyword
from pathlib import Path
from typing import Any

from ollmlx.batch import braces
from ollmlx.batch.shapes import FREE, Shape, shape
from ollmlx.errors import OllmlxError
from ollmlx.notebook.errors import Misused, Raised, theirs

_LONGEST = 2000
"""Characters of an expression; what is longer is no expression but a brace that nobody closed."""


def fill(prompt: str, variables: Mapping[str, Any]) -> str:
    """Put the value of each `{expression}` into a prompt, as `str` writes it.

    An expression begins with a name right behind the brace, and is Python; there are no format
    specs or conversions.  It is the user's own code, evaluated in the user's own kernel, as in any
    cell; what values contain is never evaluated.  `ollmlx.batch.braces` has the rest.  Raises
    `Misused` naming the expression.
    """

    def read(text: str, start: int) -> tuple[str, int]:
        end = _end(text, start)
        return str(_evaluate(text[start:end], variables)), end

    return braces.fill(prompt, read)


def _end(text: str, start: int) -> int:
    """Where the shortest Python expression ends that begins there and has a `}` behind it."""
    first = end = text.find("}", start)
    while 0 <= end < start + _LONGEST:
        try:
            ast.parse(text[start:end].strip(), mode="eval")
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            end = text.find("}", end + 1)
        else:
            return end
    wrong = text[start:first] if first >= 0 else text[start : start + 30]
    raise Misused(
        f"{{{wrong}}} is not a Python expression (format specs have none: write "
        f"{{format(x, '.2f')}}); {{{{{wrong}}}}} or --raw mean the text"
    )


def _evaluate(expression: str, variables: Mapping[str, Any]) -> Any:
    try:
        # A dict for globals, as eval wants one and adds to it; the user's stays as it is.
        with theirs():
            return eval(compile(expression.strip(), "<prompt>", "eval"), dict(variables))
    except Raised as error:
        if isinstance(unknown := error.__cause__, NameError):
            raise Misused(
                f"no variable is called {unknown.name}, in {{{expression}}}; write "
                f"{{{{{expression}}}}} to mean the text"
            ) from error
        raise Misused(f"{{{expression}}} raised {error}") from error


def wanted_shape(name: str | None, variables: Mapping[str, Any]) -> Shape:
    """`--format`: json itself, a variable (a type or a JSON Schema), or a file with a schema.

    Raises `Misused`.
    """
    if not name:
        return FREE
    try:
        if name == "json" or name not in variables:
            return shape(name if name == "json" else _file(name))
        return shape(variables[name])
    except OllmlxError as error:
        raise Misused(f"--format {name}: {error}") from error


def _file(name: str) -> Any:
    try:
        return json.loads(Path(name).expanduser().read_text())
    except OSError as error:
        raise Misused(
            "neither a variable nor a file with a JSON Schema; a type like list[int] goes into a "
            "variable first"
        ) from error
    except ValueError as error:
        raise Misused(f"not JSON: {error}") from error


def option(text: str) -> tuple[str, Any]:
    """`-o key=value`: a JSON value where it is one, else text; the API wants stops as a list.

    Raises `Misused`.
    """
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise Misused(f"an option is key=value, not {text!r}")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, [value] if key == "stop" else value


def check_out(name: str | None) -> None:
    """Raises `Misused` for what no variable can be called."""
    if name and (not name.isidentifier() or iskeyword(name)):
        raise Misused(f"--out needs a variable's name, not {name!r}")
