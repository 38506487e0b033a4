"""The recipients of Glimmer: thoughts to itself, calls and the answer in one text.

   to=self<|message|>thoughts<|eom|>
  <|start|>assistant to=f<|message|><atem:function_calls>…</atem:function_calls><|eom|>
  <|start|>assistant to=user<|message|>answer<|eot|>

Source: Ollama's `model/parsers/glimmer.go` as of 2026-08.
"""

from ollmlx.prompt.harmony import HarmonyParser
from ollmlx.prompt.toolcalls import ToolCallParser
from ollmlx.wire.native import ToolCallFunction

_Found = tuple[str, str, list[ToolCallFunction]]


class GlimmerParser(HarmonyParser):
    """Calls are told by their tags, whoever they are addressed to."""

    final = " to=user<|message|>"
    thoughts = " to=self<|message|>"
    ends = ("<|eom|>", "<|eot|>", "<|start|>")

    def __init__(self, prompt: str, calls: ToolCallParser | None) -> None:
        """`calls` reads them out of what is no thought; None where there are no tools."""
        super().__init__(prompt)
        self._reader = calls

    def push(self, text: str) -> _Found:
        content, thoughts, _ = super().push(text)
        calls = list[ToolCallFunction]()
        if self._reader and content:
            content, calls = self._reader.push(content)
        return content, thoughts, calls

    def finish(self) -> _Found:
        content, thoughts, _ = super().finish()
        if not self._reader:
            return content, thoughts, []
        before, calls = self._reader.push(content)
        rest, more = self._reader.finish()
        return before + rest, thoughts, [*calls, *more]

    def _calls(self, _head: str) -> bool:
        return False

    def _thinks(self, head: str) -> bool:
        return "to=self" in head
