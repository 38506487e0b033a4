"""What a prompt is made of: messages, tools and how to think about them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from msgspec import to_builtins

from ollmlx.errors import BadRequest
from ollmlx.wire.native import Message, Tool

DEEPEST = 64
"""Lists and objects inside one another in a tool or its arguments."""


@dataclass(frozen=True)
class Conversation:
    """A chat so far, system messages among its messages; or a text with a hole.

    A last message of the assistant is the beginning of the answer, to be continued.
    """

    messages: Sequence[Message] = ()
    tools: Sequence[Any] = ()
    """As in a request: `{"type": "function", "function": {"name": …, "parameters": …}}`."""
    think: bool | str | None = None
    """None: not said.  A string is a level: `low`, `medium`, `high` or `max`."""
    prompt: str = ""
    """With `suffix`: what stands before the hole, and there are no messages."""
    suffix: str = ""

    @property
    def fills(self) -> bool:
        """Whether the answer goes between `prompt` and `suffix`."""
        return bool(self.prompt and self.suffix)

    @property
    def think_level(self) -> str:
        if isinstance(self.think, str):
            return self.think
        return "medium" if self.think else ""


def check_depth(value: Any, depth: int = 0) -> None:
    """Raises BadRequest for values nested so deep that walking them would fill the stack."""
    if depth > DEEPEST:
        raise BadRequest("exceeded max depth")
    if isinstance(value, dict):
        for inner in value.values():
            check_depth(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            check_depth(inner, depth + 1)


def shown(tools: Sequence[Tool]) -> list[dict[str, Any]]:
    """Tools as templates see them: with the words of JSON Schema that Ollama keeps."""
    seen: list[dict[str, Any]] = to_builtins(tools)
    for tool in seen:
        function_of(tool).get("parameters", {}).pop("whole", None)
    return seen


def function_of(tool: Any) -> dict[str, Any]:
    """The `function` of a tool as a request holds it; empty where it has none."""
    function = tool.get("function") if isinstance(tool, dict) else None
    return function if isinstance(function, dict) else {}
