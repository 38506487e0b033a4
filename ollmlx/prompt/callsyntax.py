"""The ways models write tool calls, each with the tags that tell it in a Jinja chat template.

Source: the models' own chat templates; Ollama's `model/parsers` for what is let through.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ollmlx.prompt import typed

Call = tuple[str, dict[str, Any]]
Reader = Callable[[str, Sequence[Any]], list[Call]]
"""The body between two tags, and the tools on offer, to calls.  Raises ValueError."""


@dataclass(frozen=True)
class Syntax:
    name: str
    signs: tuple[str, ...]
    """Texts that are all in the templates of such models."""
    opening: str
    closing: str
    """Empty: the calls go on to the end of the text."""
    read: Reader

    def marks(self, template: str) -> bool:
        return all(sign in template for sign in self.signs)


def _from_object(call: Any, name: str = "name", arguments: str = "arguments") -> Call:
    if not isinstance(call, dict) or not isinstance(call.get(name), str):
        raise ValueError("a call has no name")
    given = call.get(arguments, call.get("parameters"))
    if isinstance(given, str):
        given = typed.load(given)
    if not isinstance(given, dict | None):
        raise ValueError("arguments are not an object")
    return call[name], given or {}


def _objects(loaded: Any, name: str = "name", arguments: str = "arguments") -> list[Call]:
    calls = loaded if isinstance(loaded, list) else [loaded]
    return [_from_object(call, name, arguments) for call in calls]


def read_json(body: str, _tools: Sequence[Any]) -> list[Call]:
    """`{"name": …, "arguments": {…}}`, or a list of such objects."""
    return _objects(typed.load(body))


def read_xml(body: str, tools: Sequence[Any]) -> list[Call]:
    """`<function=NAME><parameter=KEY>\\nVALUE\\n</parameter>…</function>`."""
    function = re.match(r"\s*<function=([^>\s]+)\s*>(.*)", body, re.DOTALL)
    if not function:
        raise ValueError("no <function=…>")
    name, rest = function[1], function[2].rpartition("</function>")[0] or function[2]
    parameters = re.findall(
        r"<parameter=([^>]+)>(.*?)(?:</parameter>|(?=<parameter=)|\Z)", rest, re.DOTALL
    )
    return [(name, _typed(tools, name, parameters))]


def _typed(tools: Sequence[Any], name: str, pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    return {
        key.strip(): typed.value(text, typed.types_of(tools, name, key.strip()))
        for key, text in pairs
    }


def read_key_value(body: str, tools: Sequence[Any]) -> list[Call]:
    """GLM's `NAME<arg_key>KEY</arg_key><arg_value>VALUE</arg_value>…`."""
    name = body.partition("<arg_key>")[0].strip()
    if not name:
        raise ValueError("a call has no name")
    pairs = re.findall(r"<arg_key>(.*?)</arg_key>\s*<arg_value>(.*?)</arg_value>", body, re.DOTALL)
    return [(name, _typed(tools, name, pairs))]


def read_python(body: str, _tools: Sequence[Any]) -> list[Call]:
    """`[f(a="x"), g()]`."""
    return typed.python_calls(body)


def read_python_lines(body: str, _tools: Sequence[Any]) -> list[Call]:
    """`f(a="x")`, a call a line."""
    return typed.python_calls(f"[{','.join(filter(str.strip, body.strip().splitlines()))}]")


def _deepseek(tag: str) -> str:
    """DeepSeek's tags have wide bars."""
    return f"<\uff5ctool▁{tag}\uff5c>"


def read_deepseek(body: str, _tools: Sequence[Any]) -> list[Call]:
    """`[call begin]NAME[sep]{…}[call end]…`; R1 writes a type first, then the name and a fence."""
    calls = []
    for part in body.split(_deepseek("call▁begin"))[1:]:
        head, _, rest = part.partition(_deepseek("call▁end"))[0].partition(_deepseek("sep"))
        fenced = re.fullmatch(r"\s*(\S+)\s*```(?:json)?\s*(.*?)\s*```\s*", rest, re.DOTALL)
        name, arguments = (fenced[1], fenced[2]) if fenced else (head.strip(), rest)
        calls.append(_from_object({"name": name, "arguments": arguments}))
    return calls


def read_mistral(body: str, _tools: Sequence[Any]) -> list[Call]:
    """A JSON list of calls, or `NAME[ARGS]{…}`, further ones after another `[TOOL_CALLS]`."""
    calls: list[Call] = []
    for part in filter(str.strip, body.split("[TOOL_CALLS]")):
        head, arguments, rest = part.partition("[ARGS]")
        if arguments:
            name = head.partition("[CALL_ID]")[0].strip()
            calls.append(_from_object({"name": name, "arguments": rest}))
        else:
            calls += _objects(typed.load(part))
    return calls


def read_cohere(body: str, _tools: Sequence[Any]) -> list[Call]:
    """`[{"tool_name": …, "parameters": {…}}]`."""
    return _objects(typed.load(body), "tool_name", "parameters")


def _loose(quote: str) -> Reader:
    """Gemma's `call:NAME{key:<q>text<q>}`, strings between `quote` marks."""

    def read(body: str, _tools: Sequence[Any]) -> list[Call]:
        call = re.fullmatch(r"\s*call:([^{\s]+)\s*(\{.*\})\s*", body, re.DOTALL)
        if not call:
            raise ValueError("no call:…{…}")
        return [(call[1], typed.loose_object(call[2], quote))]

    return read


# The order matters: the first whose signs are all there is taken.
SYNTAXES = (
    Syntax(
        "gemma4", ("<|tool_call>", "<tool_call|>"), "<|tool_call>", "<tool_call|>", _loose('<|"|>')
    ),
    Syntax(
        "functiongemma",
        ("<start_function_call>",),
        "<start_function_call>",
        "<end_function_call>",
        _loose("<escape>"),
    ),
    Syntax("glm", ("<arg_key>", "<tool_call>"), "<tool_call>", "</tool_call>", read_key_value),
    Syntax(
        "lfm2",
        ("<|tool_call_start|>",),
        "<|tool_call_start|>",
        "<|tool_call_end|>",
        read_python,
    ),
    Syntax(
        "olmo3", ("<function_calls>",), "<function_calls>", "</function_calls>", read_python_lines
    ),
    Syntax("qwen3-coder", ("<tool_call>", "<function="), "<tool_call>", "</tool_call>", read_xml),
    Syntax(
        "deepseek",
        (_deepseek("calls▁begin"),),
        _deepseek("calls▁begin"),
        _deepseek("calls▁end"),
        read_deepseek,
    ),
    Syntax("cohere", ("<|START_ACTION|>",), "<|START_ACTION|>", "<|END_ACTION|>", read_cohere),
    Syntax("mistral", ("[TOOL_CALLS]",), "[TOOL_CALLS]", "", read_mistral),
    Syntax("hermes", ("<tool_call>",), "<tool_call>", "</tool_call>", read_json),
)
