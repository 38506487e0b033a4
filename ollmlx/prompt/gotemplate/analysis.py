"""What a Go template tells about its model: variables it mentions, thinking tags, tool-call tag.

Ollama infers a model's capabilities and the syntax of its replies from nothing else.
"""

from collections.abc import Iterator
from dataclasses import replace

from ollmlx.prompt.gotemplate.nodes import (
    Action,
    Branch,
    Chain,
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
        if isinstance(operand, Field | Variable | Chain):
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

    They are the first and the last text beside the use, as in `<think>{{ .Thinking }}</think>`.
    """
    for body in program.templates.values():
        for node in _walk(body):
            if isinstance(node, Branch) and _ranges_over(node, "Messages"):
                surroundings = _nearest_use(node.body, "Thinking")
                if surroundings is not None and (tags := _outer_texts(surroundings)):
                    return tags
    return None


def _ranges_over(node: Branch, name: str) -> bool:
    return node.keyword == "range" and name in _names(node.pipeline)


def _nearest_use(nodes: Nodes, name: str) -> Nodes | None:
    """The innermost list with an action that prints the field."""
    for node in nodes:
        if isinstance(node, Action) and name in _names(node.pipeline):
            return nodes
        for body in _bodies(node):
            found = _nearest_use(body, name)
            if found is not None:
                return found
    return None


def _outer_texts(nodes: Nodes) -> tuple[str, str] | None:
    texts = [node.text.strip() for node in nodes if isinstance(node, Text)]
    if not texts or not texts[0] or not texts[-1]:
        return None
    return texts[0], texts[-1]


def tool_call_tag(program: Program) -> str:
    """What stands before a model's tool calls, such as `<tool_call>`; `{` where nothing does."""
    for body in program.templates.values():
        for node in _walk(body):
            if isinstance(node, Branch) and node.keyword == "if" and _tests_tool_calls(node):
                first = next(_texts(node.body), "")
                return first.partition("{")[0].strip() or "{"
    return "{"


def _tests_tool_calls(node: Branch) -> bool:
    return "ToolCalls" in _names(node.pipeline)


def _texts(nodes: Nodes) -> Iterator[str]:
    return (node.text for node in _walk(nodes) if isinstance(node, Text) and node.text.strip())


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
