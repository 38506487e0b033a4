"""The channels of gpt-oss: thoughts, calls and answer in one text.

  <|channel|>analysis<|message|>thoughts<|end|>
  <|start|>assistant<|channel|>commentary to=functions.NAME <|constrain|>json<|message|>{…}<|call|>
  <|start|>assistant<|channel|>final<|message|>answer<|return|>

Source: https://cookbook.openai.com/articles/openai-harmony.
"""

import re

from ollmlx.errors import OllmlxError
from ollmlx.prompt import typed
from ollmlx.prompt.split import held_back
from ollmlx.wire.native import ToolCallFunction

_BODY = "<|message|>"
_START = "<|start|>assistant"


class HarmonyParser:
    """Pieces of such a text to content, thoughts and calls; a call is given at its end."""

    final = "<|channel|>final<|message|>"
    """The head of an answer."""
    thoughts = "<|channel|>analysis<|message|>"
    """The head of thoughts."""
    ends: tuple[str, ...] = ("<|end|>", "<|call|>", "<|return|>", "<|start|>")
    """What ends a body; thoughts, the first."""
    answering = False
    """Whether something that is no thought has begun."""

    def __init__(self, prompt: str = "") -> None:
        """`prompt` may end amid a body, which then goes on."""
        self._kept = ""
        head, begun, _ = prompt.rpartition(_START)[2].partition(_BODY)
        self._head: str | None = head if begun else None
        """What stood before the body that is being read; None between bodies."""
        self._body = ""
        """The body of a call so far."""

    def closed(self, written: str) -> str:
        """The thoughts in all that was pushed, as the prompt of an answer: ended if they are not,
        and nothing where the text has none.
        """
        before, found, thoughts = written.rpartition(self.thoughts)
        if not found:
            return ""
        end = self.ends[0]
        thoughts = thoughts.partition(end)[0]
        begun = thoughts[: len(thoughts) - held_back(thoughts, end)]
        return before + found + begun + end + _START

    def _calls(self, head: str) -> bool:
        return "to=functions." in head

    def _thinks(self, head: str) -> bool:
        return "analysis" in head and not self._calls(head)

    def push(self, text: str) -> tuple[str, str, list[ToolCallFunction]]:
        """Content, thoughts, calls."""
        self._kept += text
        content, thoughts, calls = "", "", list[ToolCallFunction]()
        while True:
            if self._head is None:
                head, found, rest = self._kept.partition(_BODY)
                if not found:
                    return content, thoughts, calls
                self._head, self._kept = head, rest
                self.answering |= not self._thinks(head)
            piece, ended = self._piece()
            if self._calls(self._head):
                self._body += piece
                calls += self._call() if ended else []
            elif self._thinks(self._head):
                thoughts += piece
            else:
                content += piece
            if not ended:
                return content, thoughts, calls
            self._head = None

    def finish(self) -> tuple[str, str, list[ToolCallFunction]]:
        kept, self._kept = self._kept, ""
        if self._head is None:
            # A model that writes no channels at all is not lost.
            plain = kept if not kept.lstrip().startswith("<|") else ""
            return plain, "", []
        if self._calls(self._head):
            self._body += kept
            return "", "", self._call()
        return ("", kept, []) if self._thinks(self._head) else (kept, "", [])

    def _piece(self) -> tuple[str, bool]:
        """The part of the body that is surely there, and whether the body has ended."""
        ends = [(self._kept.find(end), end) for end in self.ends if end in self._kept]
        if ends:
            position, end = min(ends)
            piece, self._kept = self._kept[:position], self._kept[position + len(end) :]
            return piece, True
        sure = len(self._kept) - max(held_back(self._kept, end) for end in self.ends)
        piece, self._kept = self._kept[:sure], self._kept[sure:]
        return piece, False

    def _call(self) -> list[ToolCallFunction]:
        body, self._body = self._body, ""
        name = re.search(r"to=functions\.([^\s<]+)", self._head or "")
        try:
            arguments = typed.load(body)
            if name is None or not isinstance(arguments, dict):
                raise ValueError("arguments are not an object")
        except ValueError as error:
            raise OllmlxError(f"error parsing tool call: raw='{body}', err={error}") from error
        return [ToolCallFunction(name[1], arguments)]
