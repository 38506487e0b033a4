"""What a Jinja chat template tells about its model's replies, found by the tags in its text."""

import re

_THINKING = (
    ("<mm:think>", "</mm:think>"),
    ("<think:opensource>", "</think:opensource>"),
    ("<|inner_prefix|>", "<|inner_suffix|>"),
    ("[THINK]", "[/THINK]"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|channel>thought\n", "<channel|>"),
    ("<seed:think>", "</seed:think>"),
    ("<think>", "</think>"),
)
_RESULTS = re.compile(r"tool_response|tool_results|ipython|role(?:'\]|\"\])?\s*==\s*['\"]tool['\"]")


def spelled(jinja: str) -> str:
    """The template with Hunyuan's tags, which it puts together from a suffix, written out."""
    suffix = re.search(r"set HYTK = '([^']*)'", jinja)
    return jinja.replace("{}>", f"{suffix[1]}>") if suffix else jinja


def thinking_tags(jinja: str) -> tuple[str, str] | None:
    """Opening and closing tag of thoughts; None for a model that has none."""
    jinja = spelled(jinja)
    for opening, closing in _THINKING:
        if opening.strip() in jinja and closing in jinja:
            return opening, closing
    return ("<think>", "</think>") if _splits_thoughts(jinja) else None


def _splits_thoughts(jinja: str) -> bool:
    """DeepSeek-R1's way: it only ever removes thoughts from earlier answers."""
    splits = "content.split('</think>')" in jinja
    return splits and "reasoning_content" not in jinja and "<SPECIAL_12>" not in jinja


def speaks_harmony(template: str) -> bool:
    """Whether replies come in the channels of gpt-oss."""
    return "<|channel|>" in template and "<|start|>" in template


def speaks_glimmer(template: str) -> bool:
    """Whether replies come to the recipients of Glimmer."""
    return "<atem:function_calls>" in template and "<|start|>" in template


def abilities(jinja: str) -> set[str]:
    """`tools` and `thinking`, as Ollama reads them out of a Jinja template."""
    found = {"tools"} if "tools" in jinja or "tool_call" in jinja else set[str]()
    if ("<think>" in jinja and "</think>" in jinja) or _splits_thoughts(jinja):
        found.add("thinking")
    return found


def answers_tools(jinja: str) -> bool:
    """Whether the template can show a call and its result: a full round trip."""
    return "tool_call" in jinja and bool(_RESULTS.search(jinja))
