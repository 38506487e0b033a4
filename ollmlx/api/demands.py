"""What a request demands of its answer, as a grammar: a format, or a choice of tools."""

from collections.abc import Sequence
from typing import Any

from ollmlx.engine import formats, grammar
from ollmlx.prompt import callgrammar, syntax, toolcalls
from ollmlx.prompt.callgrammar import Demand
from ollmlx.prompt.lark import Terms
from ollmlx.prompt.render import Template

_TERMS = Terms(grammar.tag, formats.json_rule, grammar.until)


def answer_grammar(
    format: Any, demand: Demand, template: Template, tools: Sequence[Any]
) -> tuple[str, bool]:
    """The grammar, empty for an answer that is free, and whether it allows content only.

    Compiles, so it may take a while.  Raises `BadRequest` naming what cannot be honoured.
    """
    content = formats.from_format(format)
    if content and demand.choice != "required":
        return content, True
    if demand.free or not tools:
        return "", False
    if syntax.speaks_harmony(template.source):
        return callgrammar.harmony(demand, tools, _TERMS), False
    written = toolcalls.syntax_of(template.source, template.tool_tag)
    return callgrammar.grammar(demand, written, tools, _TERMS), False
