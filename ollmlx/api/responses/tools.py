"""Tools of a request in OpenAI's newer shape → Ollama's: namespaces are spelled out in names."""

from collections.abc import Iterable, Sequence

from ollmlx.errors import Malformed
from ollmlx.wire import native
from ollmlx.wire import responses as wire
from ollmlx.wire.decode import from_value

SEARCH = native.Tool(
    "function",
    function=native.ToolFunction(
        "web_search",
        "Search the web for current information.",
        native.ToolFunctionParameters(
            "object",
            required=["query"],
            properties={
                "query": native.ToolProperty(type="string", description="The search query.")
            },
        ),
    ),
)
"""What a model is told of the built-in search."""


def native_tools(tools: Sequence[wire.ResponsesTool]) -> list[native.Tool]:
    searches = any(tool.type == SEARCH.function.name for tool in tools)
    found: list[native.Tool] = []
    for tool in tools:
        if tool.type == SEARCH.function.name:
            found.append(SEARCH)
        else:
            # The built-in search has its name to itself.
            found += [
                one
                for one in _expanded(tool)
                if not (searches and one.function.name == SEARCH.function.name)
            ]
    return found


def _expanded(tool: wire.ResponsesTool, prefixes: tuple[str, ...] = ()) -> list[native.Tool]:
    """A tool, or the members of a namespace with its name before theirs."""
    if tool.type == "namespace":
        inner = (tool.name, *prefixes) if tool.name else prefixes
        return [one for member in tool.tools or () for one in _expanded(member, inner)]
    name = tool.name
    for prefix in prefixes:
        name = qualified(prefix, name)
    try:
        parameters = from_value(tool.parameters, native.ToolFunctionParameters)
    except Malformed as error:
        raise Malformed(f"failed to unmarshal tool parameters: {error}") from error
    function = native.ToolFunction(name, tool.description or "", parameters)
    return [native.Tool(tool.type, function=function)]


def qualified(namespace: str, name: str) -> str:
    """The name by which a model knows a function of a namespace."""
    prefix = f"{namespace}."
    return name if name.startswith(prefix) else prefix + name


def places(tools: Iterable[wire.ResponsesTool]) -> dict[str, tuple[str, str]]:
    """By the name that the model knows: the namespace of a function, and its own name there."""
    return {
        name: (tool.name, name.removeprefix(f"{tool.name}."))
        for tool in tools
        if tool.type == "namespace" and tool.name
        for name in (one.function.name for one in _expanded(tool))
    }
