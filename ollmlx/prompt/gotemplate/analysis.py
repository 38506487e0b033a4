"""What a Go template tells about its model: variables it mentions, thinking tags, tool-call tag.

Ollama infers a model's capabilities and the syntax of its replies from nothing else.
"""

from collections.abc import Iterator
from dataclasses import replace

from ollmlx.prompt.gotemplate.nodes import (
    Action,
    Branch,
    Field,
    Invoke,
    Node,
    Nodes,
    Pipeline,
    Program,
    Text,
    Variable,
    operands,
)


def _bodies(node: Node) -> tuple[Nodes, ...]:
    return (node.body, node.otherwise or ()) if isinstance(node, Branch) else ()


def _walk(nodes: Nodes) -> Iterator[Node]:
    for node in nodes:
        yield node
        for body in _bodies(node):
            yield from _walk(body)


def _names(pipeline: Pipeline | None) -> Iterator[str]:
    for operand in operands(pipeline):
        if isinstance(operand, Field | Variable):
            yield from operand.names


def mentioned(program: Program) -> frozenset[str]:
    """Every field name used in a template or in what it defines, in lower case (`messages`, …)."""
    names = set[str]()
    for body in program.templates.values():
        for node in _walk(body):
            if isinstance(node, Action | Branch | Invoke):
                names.update(_names(node.pipeline))
    return frozenset(name.lower() for name in names)


def thinking_tags(program: Program) -> tuple[str, str] | None:
    """Opening and closing tag around `.Thinking` in a range over `.Messages`, if it is there.

    They are the texts at both ends of what the last use stands in, as in
    `<think>{{ .Thinking }}</think>`.  Source: Ollama's `thinking/template.go`.
    """
    opening = closing = ""
    for surroundings in _uses(program.root, "Thinking", "Messages", ranged=False):
        first, last = surroundings[0], surroundings[-1]
        opening = first.text.strip() if isinstance(first, Text) else opening
        closing = last.text.strip() if isinstance(last, Text) else closing
    return (opening, closing) if opening and closing else None


def _uses(nodes: Nodes, name: str, over: str, ranged: bool) -> Iterator[Nodes]:
    """The innermost lists around each use of a field where the innermost range is over another."""
    for node in nodes:
        pipeline = node.pipeline if isinstance(node, Action | Branch | Invoke) else None
        loops = isinstance(node, Branch) and node.keyword == "range"
        inside = _reads(pipeline, over) if loops else ranged
        yield from [nodes] * (inside and _reads(pipeline, name))
        for body in _bodies(node):
            yield from _uses(body, name, over, inside)


def _reads(pipeline: Pipeline | None, name: str) -> bool:
    """Whether `.name` is among the operands."""
    return any(isinstance(o, Field) and o.names[:1] == (name,) for o in operands(pipeline))


def tool_call_tag(program: Program) -> str:
    """What stands before a model's tool calls, such as `<tool_call>`; `{` where nothing does.

    Source: Ollama's `tools/template.go`.
    """
    for node in _walk(program.root):
        if isinstance(node, Branch) and node.keyword == "if" and _tests_tool_calls(node):
            return (_first_text(node.body) or "").partition("{")[0].strip() or "{"
    return "{"


def _tests_tool_calls(node: Branch) -> bool:
    tested = (operand for command in node.pipeline.commands for operand in command)
    return any(isinstance(o, Field) and "ToolCalls" in o.names for o in tested)


def _first_text(nodes: Nodes) -> str | None:
    """The first text that is not blank, looked for no further than what first prints a value."""
    for node in nodes:
        if isinstance(node, Text) and node.text.strip():
            return node.text
        if isinstance(node, Branch):
            return _first_text(node.body) or _first_text(node.otherwise or ())
        if isinstance(node, Action):
            return None
    return None


def answers_tools(source: str, names: frozenset[str]) -> bool:
    """Whether the template can show a tool, a call of it and its result: a full round trip."""
    results = ('eq .Role "tool"', "tool_response", "TOOL_RESULTS")
    return {"tools", "toolcalls"} <= names and any(word in source for word in results)


def until_response(program: Program) -> Program:
    """The program without what follows the place where `.Response` prints."""
    nodes, _ = _cut(program.root)
    return replace(program, templates={**program.templates, "": nodes})


def _cut(nodes: Nodes) -> tuple[Nodes, bool]:
    kept: list[Node] = []
    for node in nodes:
        whole, found = _cut_node(node)
        kept.append(whole)
        if found:
            return tuple(kept), True
    return tuple(kept), False


def _cut_node(node: Node) -> tuple[Node, bool]:
    if isinstance(node, Action):
        return node, "Response" in _names(node.pipeline)
    if not isinstance(node, Branch):
        return node, False
    body, found = _cut(node.body)
    if found:
        # The other way through the branch keeps nothing: it came after the response.
        return replace(node, body=body, otherwise=None), True
    otherwise, found = _cut(node.otherwise) if node.otherwise is not None else (None, False)
    return replace(node, body=body, otherwise=otherwise), found
