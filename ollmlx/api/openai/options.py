"""How an OpenAI request wants its answer written → Ollama's options, format, thinking and choice
of tools.
"""

from typing import Any

from msgspec import UNSET

from ollmlx.errors import Malformed
from ollmlx.wire import openai as wire
from ollmlx.wire.native import Tool
from ollmlx.wire.responses import ResponsesTextFormat

MOST_CHOICES = 128
"""Answers to one request, as in OpenAI's API."""
_EFFORTS: dict[str, bool | str] = {
    "none": False,
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "max": "max",
    "xhigh": "max",
    "ultra": "max",
}


def options(request: wire.Extras, defaults: dict[str, Any], **explicit: Any) -> dict[str, Any]:
    """Ollama's options: those of OpenAI's fields over Ollama's own, over `defaults`."""
    own = {
        "num_ctx": request.num_ctx,
        "top_k": request.top_k,
        "min_p": request.min_p,
        "repeat_penalty": request.repeat_penalty,
        "logit_bias": request.logit_bias or None,
    }
    given = {name: value for name, value in {**own, **explicit}.items() if value is not None}
    return {**defaults, **request.options, **given}


def stops(stop: Any) -> list[str] | None:
    if isinstance(stop, str):
        return [stop]
    return [text for text in stop if isinstance(text, str)] if isinstance(stop, list) else None


def think(effort: str, otherwise: bool | str | None) -> bool | str | None:
    """What an effort means to a model; `otherwise` where none is named."""
    if not effort:
        return otherwise
    if effort not in _EFFORTS:
        raise Malformed(
            f'invalid reasoning value: "{effort}" (must be "minimal", "low", "medium", "high",'
            ' "xhigh", "ultra", "max", or "none")'
        )
    return _EFFORTS[effort]


def count(name: str, value: int | None) -> int:
    """How many answers to write."""
    if value is not None and not 1 <= value <= MOST_CHOICES:
        raise Malformed(f"{name} must be between 1 and {MOST_CHOICES}")
    return value or 1


def seeds(chosen: dict[str, Any], number: int) -> list[dict[str, Any]]:
    """The options of each of several answers: with one seed they would all be the same."""
    seed = chosen.get("seed")
    if not isinstance(seed, int) or seed < 0:
        return [chosen] * number
    return [{**chosen, "seed": seed + index} for index in range(number)]


def format_of(wanted: wire.ResponseFormat | ResponsesTextFormat, schema: Any) -> Any:
    """Ollama's `format`: `json`, a JSON Schema, or a constraint of another kind."""
    kind = wanted.type.strip().lower()
    match kind:
        case "" | "text":
            return None
        case "json_object":
            return "json"
        case "json_schema":
            return None if schema is UNSET else schema
        case "regex" | "choice" | "lark" | "gbnf":
            values = {name: getattr(wanted, name) for name in ("pattern", "choices", "grammar")}
            return {"type": kind, **{n: value for n, value in values.items() if value is not UNSET}}
    raise Malformed(f'answers in the format "{wanted.type}" are not supported')


def tool_choice(wanted: Any, tools: list[Tool]) -> tuple[Any, list[Tool]]:
    """Which tools are to be called, as Ollama's request says it, and which there are."""
    match wanted:
        case None | "auto" | "none" | "required":
            return wanted, tools
        case {"type": "function", "function": {"name": str(name)}} | {
            "type": "function",
            "name": str(name),
        }:
            return {"type": "function", "function": {"name": name}}, tools
        case {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [*some]}} | {
            "type": "allowed_tools",
            "mode": mode,
            "tools": [*some],
        } if mode in ("auto", "required"):
            names = [_name(one) for one in some]
            return mode, [tool for tool in tools if tool.function.name in names]
    raise Malformed('tool_choice must be "auto", "none", "required", a function or allowed_tools')


def _name(tool: Any) -> Any:
    match tool:
        case {"function": {"name": name}} | {"name": name}:
            return name
    return None
