"""Functions of the notebook that a model may call."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ollama import Message

from ollmlx.notebook.errors import Misused
from ollmlx.notebook.theirs import Raised, theirs

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
        tools[getattr(function, "__name__", name)] = function
    return tools


def perform(call: Call, tools: Tools) -> None:
    """What goes wrong is told to the model, which may mend it; only an interrupt ends the cell."""
    if call.name not in tools:
        call.result = f"error: there is no function {call.name}, only {', '.join(tools)}"
        return
    try:
        with theirs():
            call.result = _text(tools[call.name](**call.arguments))
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
