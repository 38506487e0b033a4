"""What a cell takes from the notebook's variables: text for its prompt, a schema for its answer."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ollmlx.errors import OllmlxError

_FIELD = re.compile(r"\{(\{[A-Za-z_]\w*\})\}|\{([A-Za-z_]\w*)\}")


class Shown(OllmlxError):
    """Ends a cell with its text alone: the traceback would be of our code, not of the user's."""

    def _render_traceback_(self) -> list[str]:  # IPython's hook for exceptions that draw themselves
        return [str(self)]


class Misused(Shown):
    """A magic was asked for something it cannot mean."""


def fill(prompt: str, variables: Mapping[str, Any]) -> str:
    """Put the value of each `{name}` into a prompt; `{{name}}` is `{name}` itself.

    Only plain names count, nothing is evaluated, and every other brace stays: JSON and code can be
    pasted as they are.  Raises `Misused` for a name that no variable has.
    """

    def value(match: re.Match[str]) -> str:
        literal, name = match.groups()
        if literal:
            return str(literal)
        if name not in variables:
            raise Misused(f"no variable is called {name}; write {{{{{name}}}}} to mean the text")
        return str(variables[name])

    return _FIELD.sub(value, prompt)


def schema(name: str, variables: Mapping[str, Any]) -> Any:
    """`--format`: json itself, a variable (a schema or a pydantic model), or a file with a schema.

    Raises `Misused`.
    """
    if name == "json":
        return name
    if name in variables:
        value = variables[name]
        described = getattr(value, "model_json_schema", None)
        return described() if described else value
    try:
        return json.loads(Path(name).expanduser().read_text())
    except OSError as error:
        raise Misused(
            f"--format is json, a variable or a file with a JSON Schema; {name} is neither"
        ) from error
    except ValueError as error:
        raise Misused(f"{name} is not JSON: {error}") from error


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
