"""What a model can do, told by its metadata, its templates and its parser.

The order of the results is the order /api/show lists them in; `as_listed` is that of /api/tags.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

from ollmlx.gguf import Header

_THINKING_TAGS = re.compile(
    r"\}\}\s*[^\s{}][^{}]*\{\{-?\s*(?:\$\w*)?\.(?:\w+\.)?Thinking\s*-?\}\}\s*[^\s{}][^{}]*\{\{"
)
_OTHER_THOUGHTS = (
    ("[THINK]", "[/THINK]"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|channel>thought", "<channel|>"),
    ("<seed:think>", "</seed:think>"),
    ("<|channel|>analysis", "<|start|>"),
)

PARSERS: dict[str, tuple[str, ...]] = {
    "cogito": ("tools", "thinking"),
    "cohere": ("tools", "thinking"),
    "deepseek3": ("tools", "thinking"),
    "functiongemma": ("tools",),
    "gemma4": ("tools", "thinking"),
    "gemma4-no-thinking": ("tools",),
    "glimmer": ("tools", "thinking"),
    "glm-4.7": ("tools", "thinking"),
    "glm-ocr": ("tools",),
    "harmony": ("tools", "thinking"),
    "laguna": ("tools", "thinking"),
    "lfm2": ("tools",),
    "lfm2-thinking": ("tools", "thinking"),
    "ministral": ("tools",),
    "nemotron-3-nano": ("tools", "thinking"),
    "nemotron-3.5-nano": ("tools", "thinking"),
    "olmo3": ("tools",),
    "olmo3-think": ("thinking",),
    "ornith": ("tools", "thinking"),
    "passthrough": (),
    "poolside-v1": ("tools", "thinking"),
    "qwen3": ("tools",),
    "qwen3-coder": ("tools",),
    "qwen3-thinking": ("tools", "thinking"),
    "qwen3-vl-instruct": ("tools",),
    "qwen3-vl-thinking": ("tools", "thinking"),
    "qwen3.5": ("tools", "thinking"),
}
"""What each built-in output parser of Ollama understands besides plain text."""


def merged(*groups: Iterable[str]) -> tuple[str, ...]:
    """All of them in order, each once."""
    return tuple(dict.fromkeys(name for group in groups for name in group))


def as_listed(capabilities: Sequence[str], has_projector: bool) -> tuple[str, ...]:
    """The same capabilities in the order of /api/tags."""
    first = ["audio", "embedding", "completion"]
    last = ["tools", "insert", "thinking"]
    if has_projector:
        last.append("vision")
    else:
        first.insert(0, "vision")
    ranks = {name: rank for rank, name in enumerate([*first, "", *last])}
    return tuple(sorted(capabilities, key=lambda name: ranks.get(name, ranks[""])))


def of_weights(header: Header) -> Iterator[str]:
    yield "embedding" if header.key("pooling_type") is not None else "completion"
    if header.key("vision.block_count") is not None:
        yield "vision"
    if header.key("audio.block_count") is not None and header.arch != "nemotron_h_omni":
        yield "audio"


def of_projector(header: Header) -> Iterator[str]:
    yield "vision"
    heard = any(v is True for k, v in header.meta.items() if k.endswith(".has_audio_encoder"))
    if heard and header.text("clip.projector_type") != "gemma3nv":
        yield "audio"


def of_jinja(template: str) -> Iterator[str]:
    if "tools" in template or "tool_call" in template:
        yield "tools"
    written = "<think>" in template and "</think>" in template
    split_off = any(f"content.split({q}</think>{q})" in template for q in "'\"")
    foreign = "reasoning_content" in template or "<SPECIAL_12>" in template
    if written or (split_off and not foreign):
        yield "thinking"


def of_folder_jinja(template: str) -> Iterator[str]:
    """The same for MLX models, of whose thoughts Ollama knows by parsers that it has for them."""
    found = set(of_jinja(template))
    if any(all(tag in template for tag in tags) for tags in _OTHER_THOUGHTS):
        found.add("thinking")
    return (name for name in ("tools", "thinking") if name in found)


def of_go_template(template: str) -> Iterator[str]:
    actions = list(_actions(template))

    def uses(field: str) -> bool:
        return any(re.search(rf"\.{field}\b", action) for action in actions)

    if uses("Tools"):
        yield "tools"
    if uses("Suffix"):
        yield "insert"
    if uses("Messages") and _THINKING_TAGS.search(template):
        yield "thinking"


def _actions(template: str) -> Iterator[str]:
    """What stands in `{{ … }}`, comments left out.  Not an expression, which could take hours for
    a text of nothing but braces.
    """
    start = template.find("{{")
    while start >= 0 and (end := template.find("}}", start + 2)) >= 0:
        action = template[start + 2 : end]
        if not action.removeprefix("-").lstrip().startswith("/*"):
            yield action
        start = template.find("{{", end + 2)


def of_parser(parser: str, family: str) -> Iterator[str]:
    yield from PARSERS.get(parser, ())
    if family in ("gptoss", "gpt-oss"):
        yield "thinking"
