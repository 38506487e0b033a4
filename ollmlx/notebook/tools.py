"""Functions of the notebook that a model may call."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import update_wrapper
from inspect import getdoc, iscoroutine
from typing import Any

from ollama import Message

from ollmlx.batch.beside import run_beside
from ollmlx.notebook.errors import Misused, Raised, theirs

Tools = dict[str, Callable[..., Any]]


@dataclass
class Call:
    """What a model called, and what came of it."""

    name: str
    arguments: Mapping[str, Any]
    result: str | None = None
    """None while it runs, and where it was interrupted."""

    @classmethod
    def of(cls, asked: Message.ToolCall) -> "Call":
        return cls(asked.function.name, dict(asked.function.arguments))

    def __str__(self) -> str:
        given = ", ".join(f"{key}={value!r}" for key, value in self.arguments.items())
        return f"{self.name}({given})"

    @property
    def message(self) -> dict[str, Any]:
        """What the model is told."""
        return {"role": "tool", "tool_name": self.name, "content": self.result}


def named(names: str, variables: Mapping[str, Any]) -> Tools:
    """`--tools f,g`.  Raises `Misused`."""
    tools: Tools = {}
    for name in filter(None, (part.strip() for part in names.split(","))):
        if not callable(function := variables.get(name)):
            raise Misused(f"--tools: no function is called {name}")
        tools[name] = _called(name, function)
    return tools


def _called(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A function as the notebook calls it: others are `<lambda>`, or have no name of their own."""
    if getattr(function, "__name__", "") == name:
        return function

    def call(**arguments: Any) -> Any:
        return function(**arguments)

    made = update_wrapper(call, function)
    made.__name__ = name
    made.__doc__ = getdoc(getattr(function, "func", function))  # functools.partial has a text too
    return made


def perform(call: Call, tools: Tools) -> None:
    """What goes wrong is told to the model, which may mend it; only an interrupt ends the cell."""
    if call.name not in tools:
        call.result = f"error: there is no function {call.name}, only {', '.join(tools)}"
        return
    try:
        with theirs():
            result = tools[call.name](**call.arguments)
            # The kernel's own loop is busy with this cell.
            call.result = _text(run_beside(result) if iscoroutine(result) else result)
    except Raised as error:
        call.result = f"error: {error}"


def _text(result: Any) -> str:
    """JSON where it is data, as models have learnt it; else what `str` says."""
    if isinstance(result, str):
        return result
    try:
        return json.dumps(result, ensure_ascii=False)
    except (TypeError, ValueError):
        return str(result)
