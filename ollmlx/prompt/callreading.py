"""Tool calls as models write them → names and arguments, one function for each way of writing.

Each takes the body between two tags and the tools on offer, and raises ValueError for what is no
call.  Source: the models' own chat templates; Ollama's `model/parsers` for what is let through.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from ollmlx.prompt import typed

Call = tuple[str, dict[str, Any]]
Reader = Callable[[str, Sequence[Any]], list[Call]]


MINIMAX = "]<]minimax[>["
"""MiniMax M3 writes it before every tag."""
HUNYUAN = ":opensource"
"""Hunyuan 3 writes it at the end of every tag's name."""


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


def read_json_lines(body: str, tools: Sequence[Any]) -> list[Call]:
    """A list of calls, or a call a line."""
    if body.lstrip().startswith("["):
        return read_json(body, tools)
    return [_from_object(typed.load(line)) for line in filter(str.strip, body.splitlines())]


def read_apertus(body: str, _tools: Sequence[Any]) -> list[Call]:
    """`[{NAME: {…}}, …]`."""
    calls, loaded = [], typed.load(body)
    for call in loaded if isinstance(loaded, list) else [loaded]:
        if not isinstance(call, dict) or len(call) != 1:
            raise ValueError("a call has one name")
        [(name, arguments)] = call.items()
        calls.append(_from_object({"name": name, "arguments": arguments}))
    return calls


def read_solar(body: str, _tools: Sequence[Any]) -> list[Call]:
    """`<|tool_call:begin|>ID<|tool_call:name|>NAME<|tool_call:args|>{…}<|tool_call:end|>…`."""
    calls = []
    for part in body.split("<|tool_call:begin|>")[1:]:
        _, _, named = part.partition("<|tool_call:end|>")[0].partition("<|tool_call:name|>")
        name, _, arguments = named.partition("<|tool_call:args|>")
        calls.append(_from_object({"name": name.strip(), "arguments": arguments}))
    if not calls:
        raise ValueError("no <|tool_call:begin|>")
    return calls


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


def read_python(body: str, _tools: Sequence[Any]) -> list[Call]:
    """`[f(a="x"), g()]`."""
    return typed.python_calls(body)


def read_python_lines(body: str, _tools: Sequence[Any]) -> list[Call]:
    """`f(a="x")`, a call a line."""
    return typed.python_calls(f"[{','.join(filter(str.strip, body.strip().splitlines()))}]")


def deepseek(tag: str) -> str:
    """DeepSeek's tags have wide bars."""
    return f"<\uff5ctool▁{tag}\uff5c>"


def read_deepseek(body: str, _tools: Sequence[Any]) -> list[Call]:
    """`[call begin]NAME[sep]{…}[call end]…`; R1 writes a type first, then the name and a fence."""
    calls = []
    for part in body.split(deepseek("call▁begin"))[1:]:
        head, _, rest = part.partition(deepseek("call▁end"))[0].partition(deepseek("sep"))
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


def loose(quote: str) -> Reader:
    """Gemma's `call:NAME{key:<q>text<q>}`, strings between `quote` marks."""

    def read(body: str, _tools: Sequence[Any]) -> list[Call]:
        call = re.fullmatch(r"\s*call:([^{\s]+)\s*(\{.*\})\s*", body, re.DOTALL)
        if not call:
            raise ValueError("no call:…{…}")
        return [(call[1], typed.loose_object(call[2], quote))]

    return read


def keyed(prefix: str = "") -> Reader:
    """GLM's `NAME<arg_key>KEY</arg_key><arg_value>VALUE</arg_value>…`, the tags with a prefix."""
    key, value = f"{prefix}arg_key>", f"{prefix}arg_value>"
    pair = re.compile(f"<{key}(.*?)</{key}\\s*<{value}(.*?)</{value}", re.DOTALL)

    def read(body: str, tools: Sequence[Any]) -> list[Call]:
        name = body.partition(f"<{key}")[0].strip()
        if not name:
            raise ValueError("a call has no name")
        return [(name, _typed(tools, name, pair.findall(body)))]

    return read


def invoked(prefix: str = "") -> Reader:
    """`<invoke name="NAME"><parameter name="KEY">VALUE</parameter>…</invoke>…`, prefixed too."""
    invoke, parameter = f"{prefix}invoke", f"{prefix}parameter"
    call = re.compile(
        f'<{invoke}\\s[^>]*?name="?([^">]+)"?[^>]*>(.*?)(?:</{invoke}>|\\Z)', re.DOTALL
    )
    pair = re.compile(f'<{parameter}\\s[^>]*?name="?([^">]+)"?[^>]*>(.*?)</{parameter}>', re.DOTALL)

    def read(body: str, tools: Sequence[Any]) -> list[Call]:
        calls = [
            (name, _typed(tools, name, pair.findall(inner))) for name, inner in call.findall(body)
        ]
        if not calls:
            raise ValueError(f"no <{invoke} name=…>")
        return calls

    return read


def read_named_function(body: str, tools: Sequence[Any]) -> list[Call]:
    """MiniCPM's `"NAME"><param name="KEY">VALUE</param>…`; a value may be CDATA."""
    head, closed, rest = body.partition(">")
    name = head.strip().strip("\"'")
    if not closed or not name:
        raise ValueError("a call has no name")
    pairs = re.findall(
        r"<param\s+name\s*=\s*[\"']?([^\"'>]+)[\"']?\s*>(.*?)</param>", rest, re.DOTALL
    )
    return [(name, _typed(tools, name, ((key, _without_cdata(text)) for key, text in pairs)))]


def _without_cdata(text: str) -> str:
    marked = re.fullmatch(r"\s*<!\[CDATA\[(.*?)\]\]>\s*", text, re.DOTALL)
    return marked[1] if marked else text


def read_kimi(body: str, _tools: Sequence[Any]) -> list[Call]:
    """Kimi K2's `<|tool_call_begin|>functions.NAME:0<|tool_call_argument_begin|>{…}…`."""
    calls = []
    for part in body.split("<|tool_call_begin|>")[1:]:
        head, _, rest = part.partition("<|tool_call_end|>")[0].partition(
            "<|tool_call_argument_begin|>"
        )
        name = head.strip().removeprefix("functions.").rpartition(":")[0] or head.strip()
        calls.append(_from_object({"name": name, "arguments": rest}))
    if not calls:
        raise ValueError("no <|tool_call_begin|>")
    return calls


_OPENED = r"<\|open\|>{0}((?:(?!<\|sep\|>).)*)<\|sep\|>(.*?)<\|close\|>{0}<\|sep\|>"
_KIMI_CALL, _KIMI_ARGUMENT, _KIMI_JSON = (
    re.compile(_OPENED.format(tag), re.DOTALL) for tag in ("call", "argument", "json")
)


def read_kimi_blocks(body: str, _tools: Sequence[Any]) -> list[Call]:
    """Kimi K3's `<|open|>call tool="NAME"<|sep|>…<|close|>call<|sep|>`: arguments tell their types,
    or stand in one block of JSON.
    """
    calls = []
    for head, inner in _KIMI_CALL.findall(body):
        whole = _KIMI_JSON.search(inner)
        arguments: Any = whole[2] if whole else dict(map(_told, _KIMI_ARGUMENT.findall(inner)))
        calls.append(_from_object({"name": _attributes(head).get("tool"), "arguments": arguments}))
    if not calls:
        raise ValueError("no <|open|>call")
    return calls


def _attributes(head: str) -> dict[str, str]:
    found = re.findall(r'(\w+)="([^"]*)"', head)
    return {key: text.replace("&quot;", '"').replace("&amp;", "&") for key, text in found}


def _told(argument: tuple[str, str]) -> tuple[str, Any]:
    attributes = _attributes(argument[0])
    if "key" not in attributes:
        raise ValueError("an argument has no key")
    plain = attributes.get("type", "string") == "string"
    return attributes["key"], argument[1] if plain else typed.load(argument[1])


_HUNYUAN_CALL = re.compile(
    f"<tool_call{HUNYUAN}>(.*?)<tool_sep{HUNYUAN}>(.*?)</tool_call{HUNYUAN}>", re.DOTALL
)
_HUNYUAN_PAIR = re.compile(
    rf"<arg_key{HUNYUAN}>(.*?)</arg_key{HUNYUAN}>\s*<arg_value{HUNYUAN}>(.*?)</arg_value{HUNYUAN}>",
    re.DOTALL,
)


def read_hunyuan(body: str, tools: Sequence[Any]) -> list[Call]:
    """`<tool_call:…>NAME<tool_sep:…>` and GLM's pairs of keys and values, a call after a call."""
    calls = [
        (name.strip(), _typed(tools, name.strip(), _HUNYUAN_PAIR.findall(inner)))
        for name, inner in _HUNYUAN_CALL.findall(body)
    ]
    if not calls:
        raise ValueError(f"no <tool_call{HUNYUAN}>")
    return calls


def read_function_object(body: str, _tools: Sequence[Any]) -> list[Call]:
    """`NAME>{…}`, what stands between `<function=` and `</function>`."""
    name, _, arguments = body.partition(">")
    return [_from_object({"name": name.strip(), "arguments": arguments})]


def read_addressed(body: str, _tools: Sequence[Any]) -> list[Call]:
    """`NAME`, a line end, `{…}`: functionary's message to a tool."""
    name, _, arguments = body.partition("\n")
    return [_from_object({"name": name.strip(), "arguments": arguments})]


def read_after(tag: str) -> Reader:
    """JSON objects, `tag` between any two."""

    def read(body: str, tools: Sequence[Any]) -> list[Call]:
        return [call for part in body.split(tag) for call in read_json(part, tools)]

    return read


# -- MiniMax M3: arguments as elements, objects and lists as elements inside them -----------------

_Schema = dict[str, Any]


def read_elements(body: str, tools: Sequence[Any]) -> list[Call]:
    """`<invoke name="NAME"><KEY>VALUE</KEY>…</invoke>…`, `MINIMAX` before each tag."""
    pieces, calls = body.split(MINIMAX)[1:][::-1], list[Call]()
    while pieces:
        invoked = re.match(r'<invoke name="([^"]+)">', pieces.pop())
        if not invoked:
            raise ValueError("no <invoke name=…>")
        parameters = typed.parameters_of(tools, invoked[1])
        try:
            calls.append((invoked[1], dict(_elements(pieces, "invoke", parameters))))
        except RecursionError as error:
            raise ValueError("too deeply nested") from error
    return calls


def _elements(pieces: list[str], parent: str, schema: _Schema) -> Iterator[tuple[str, Any]]:
    """Elements up to the end of their parent, taken from the end of `pieces`."""
    while pieces and not pieces[-1].startswith(f"</{parent}>"):
        opened = re.match(r"<([^/>]+)>(.*)", pieces.pop(), re.DOTALL)
        if not opened:
            raise ValueError(f"no element in <{parent}>")
        yield opened[1], _element(pieces, opened[1], opened[2], _part(schema, opened[1]))
    if not pieces:
        raise ValueError(f"no </{parent}>")
    pieces.pop()


def _element(pieces: list[str], name: str, text: str, schema: _Schema) -> Any:
    kind, inner = schema.get("type"), [*_elements(pieces, name, schema)]
    if inner:
        listed = kind in ("array", None) and {key for key, _ in inner} == {"item"}
        return [value for _, value in inner] if listed else dict(inner)
    if not text and kind in ("array", "object"):
        return [] if kind == "array" else {}
    if text in (values := typed.listed(schema)):
        return values[text]
    return typed.value(text, typed.flattened(schema))


def _part(schema: _Schema, name: str) -> _Schema:
    """What a schema says of one of its properties, or of its items."""
    properties, items = schema.get("properties"), schema.get("items")
    listed = schema.get("type") == "array" and name == "item"
    found = items if listed else (properties or {}).get(name)
    return found if isinstance(found, dict) else {}
