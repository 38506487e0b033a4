"""What a request demands of tool calls, as a grammar of the model's own way of writing them.

A demand is OpenAI's `tool_choice` and `parallel_tool_calls`.  Thoughts come before the grammar.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ollmlx.errors import BadRequest
from ollmlx.prompt.callsyntax import Syntax
from ollmlx.prompt.callwriting import between
from ollmlx.prompt.conversation import function_of
from ollmlx.prompt.lark import ANYTHING, Lark, Terms, literally, text

# The start of a call that has no tag: content may begin with any other JSON.
_MORE = "{0,31}"
"""A weak model that must call would call for ever."""
_HARMONY_HEAD_END = " <|constrain|>json<|message|>"
_UNTAGGED = r"\s*(<\|python_tag\|>)?\s*\[?\s*\{\s*\"name\"(?s:.*)"


@dataclass(frozen=True)
class Demand:
    choice: str = "auto"
    """`auto`, `none` or `required`."""
    named: str = ""
    """The only tool that may be called."""
    parallel: bool = True

    @classmethod
    def of(cls, choice: Any, parallel: bool | None, tools: Sequence[Any]) -> "Demand":
        """From the fields of a request.  Raises BadRequest where there is no such tool."""
        named = choice["function"]["name"] if isinstance(choice, dict) else ""
        if named and named not in map(_name, tools):
            raise BadRequest(f'tool_choice names "{named}", which is not among the tools')
        wanted = "required" if named else choice or "auto"
        if wanted == "required" and not tools:
            raise BadRequest('tool_choice "required" needs tools')
        return cls(wanted, named, parallel is not False)

    @property
    def free(self) -> bool:
        """Whether the answer may be anything."""
        return self.choice == "auto" and self.parallel


def grammar(demand: Demand, syntax: Syntax, tools: Sequence[Any], terms: Terms) -> str:
    """The answer, in Lark.  Raises BadRequest for arguments that a model cannot be held to."""
    lark = Lark(terms)
    if demand.choice == "none":
        return lark.starting(_content(syntax, lark))
    offered = [tool for tool in tools if demand.named in ("", _name(tool))]
    calls = [syntax.write(_name(tool), _schema(tool), lark) for tool in offered]
    call = lark.rule(" | ".join(calls))
    if demand.choice == "required":
        return lark.starting(_opened(syntax, _several(syntax, call, demand.parallel, lark), lark))
    one = _several(syntax, call, False, lark)
    if not syntax.opening:
        return lark.starting(f"{one} | {_content(syntax, lark)}")
    called = f"{lark.until(syntax.opening)} {text(syntax.gap)} {one}"
    return lark.starting(f"{called} | {_content(syntax, lark)}")


def harmony(demand: Demand, tools: Sequence[Any], terms: Terms) -> str:
    """The same for gpt-oss: the header of a call or of the last channel, and what follows it."""
    lark = Lark(terms)
    final = f"{terms.tag('<|channel|>final<|message|>')} {ANYTHING}"
    if demand.choice == "none":
        return lark.starting(final)
    write = between("<|channel|>commentary to=functions.", _HARMONY_HEAD_END, "")
    offered = [tool for tool in tools if demand.named in ("", _name(tool))]
    call = lark.rule(" | ".join(write(_name(tool), _schema(tool), lark) for tool in offered))
    return lark.starting(call if demand.choice == "required" else f"{call} | {final}")


def _several(syntax: Syntax, call: str, parallel: bool, lark: Lark) -> str:
    """Calls up to the end of the last tag, the first opening tag left out."""
    shape, tag, gap = syntax.shape, lark.terms.tag, text(syntax.gap)
    end = f"{gap} {syntax.closing and tag(syntax.closing)}"
    if shape.in_one:
        more = f"({text(shape.between)} {call}){_MORE}" if parallel else ""
        return f"{text(shape.first)} {call} {more} {text(shape.last)} {end}"
    if not parallel or not syntax.opening:
        return f"{call} {end}"
    again = f"{text(shape.between)} {tag(syntax.opening)} {gap} {call} {end}"
    return f"{call} {end} ({again}){_MORE}"


def _opened(syntax: Syntax, calls: str, lark: Lark) -> str:
    if not syntax.opening:
        return calls
    return f"{lark.terms.tag(syntax.opening)} {text(syntax.gap)} {calls}"


def _content(syntax: Syntax, lark: Lark) -> str:
    """Any text that is no call."""
    if syntax.answer:
        again = literally(syntax.shape.between)
        return f"{text(syntax.answer)} {lark.without(f'(?s:.*){again}(?s:.*)')}"
    called = f"(?s:.*){literally(syntax.opening)}(?s:.*)"
    return lark.without(called if syntax.opening else _UNTAGGED)


def _name(tool: Any) -> str:
    return str(function_of(tool).get("name", ""))


def _schema(tool: Any) -> dict[str, Any]:
    """The whole JSON Schema of a tool's arguments, which are always an object."""
    given = function_of(tool).get("parameters")
    known = given if isinstance(given, dict) else {}
    return {**known.get("whole", known), "type": "object"}
