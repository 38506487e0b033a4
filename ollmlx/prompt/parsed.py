"""Replies as Ollama's built-in parsers read them, by the names that `PARSER` gives.

A name stands for a syntax of calls and the tags of thoughts, which else the template tells.
Source: Ollama's `model/parsers` as of 2026-08.
"""

from ollmlx.prompt.callsyntax import SYNTAXES
from ollmlx.prompt.conversation import Conversation
from ollmlx.prompt.render import Template

_THINK = ("<think>", "</think>")
_PARSERS: dict[str, tuple[str, tuple[str, str] | None]] = {
    "qwen3": ("hermes", None),
    "qwen3-thinking": ("hermes", _THINK),
    "qwen3.5": ("qwen3-coder", _THINK),
    "ornith": ("qwen3-coder", _THINK),
    "qwen3-coder": ("qwen3-coder", None),
    "qwen3-vl-instruct": ("hermes", None),
    "qwen3-vl-thinking": ("hermes", _THINK),
    "ministral": ("mistral-named", ("[THINK]", "[/THINK]")),
    "passthrough": ("", None),
    "cogito": ("deepseek", _THINK),
    "deepseek3": ("deepseek", _THINK),
    "olmo3": ("olmo3", None),
    "olmo3-think": ("", _THINK),
    "nemotron-3-nano": ("qwen3-coder", _THINK),
    "nemotron-3.5-nano": ("qwen3-coder", _THINK),
    "functiongemma": ("functiongemma", None),
    "glm-4.7": ("glm", _THINK),
    "glm-ocr": ("glm", None),
    "gemma4": ("gemma4", ("<|channel>thought\n", "<channel|>")),
    "gemma4-no-thinking": ("gemma4", None),
    "lfm2": ("lfm2", None),
    "lfm2-thinking": ("lfm2", _THINK),
    "laguna": ("glm", _THINK),
    "poolside-v1": ("glm", _THINK),
    "cohere": ("cohere", ("<|START_THINKING|>", "<|END_THINKING|>")),
}
_CHANNELS = {"harmony": "<|start|><|channel|>", "glimmer": "<|start|><atem:function_calls>"}
"""Parsers of replies in several parts, and their signs."""
_SIGNS = {syntax.name: " ".join(syntax.signs) for syntax in SYNTAXES} | {"": ""}


class Parsed:
    """A template whose replies are not read as its text would tell."""

    tool_tag = ""

    def __init__(self, template: Template, source: str, thinking: tuple[str, str] | None) -> None:
        """`source`: the signs of a syntax of calls."""
        self.template = template
        self.source = source
        self.thinking = thinking

    def render(self, conversation: Conversation) -> str:
        return self.template.render(conversation)


def parsed(template: Template, parser: str) -> Template:
    """The template with the replies of a parser; as in Ollama, a name nobody knows changes none."""
    if parser in _CHANNELS:
        return Parsed(template, _CHANNELS[parser], None)
    if parser not in _PARSERS:
        return template
    syntax, thinking = _PARSERS[parser]
    return Parsed(template, _SIGNS[syntax], thinking)
