"""Tool calls in whatever form: the name of a tool on offer, and an object near it.

This is how Ollama reads the calls of models that only have a Go template, and it suits all that
write JSON without tags of their own, such as Llama 3.
Source: Ollama's `tools/tools.go` as of 2026-08.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from ollmlx.prompt import typed
from ollmlx.prompt.conversation import function_of
from ollmlx.prompt.split import held_back
from ollmlx.wire.native import ToolCallFunction

Found = tuple[str, list[ToolCallFunction]]

_BRACKETS = {"{": "}", "[": "]"}
_STRING_OR_BRACE = re.compile(r'"(?:[^"\\]|\\.)*"|[{}]', re.DOTALL)
_UP_TO_CLOSER = re.compile(r"[^}\]]*[}\]]|[^}\]]+")
# Llama 3.1 may write this token before a call.
_PYTHON_TAG = "<|python_tag|>"


class AnyCalls:
    """Calls after a tag; where the tag is `{` or `[` the text must begin with it.

    The state changes only at closing brackets, so the pieces may be cut anywhere.
    """

    def __init__(self, tag: str, tools: Sequence[Any]) -> None:
        self._tag = tag
        self._names = [name for tool in tools if (name := function_of(tool).get("name"))]
        self._kept = ""
        self._depth = 0
        self._calling = False
        self._over = False
        self._found = False

    def push(self, text: str) -> Found:
        content, calls = "", list[ToolCallFunction]()
        for piece in _UP_TO_CLOSER.findall(text):
            more, found = self._push(piece)
            content += more
            calls += found
        return content, calls

    def finish(self) -> Found:
        calls = list(self._calls()) if self._calling else []
        kept, self._kept = self._kept, ""
        if not self._calling:
            return kept, calls
        lost = self._found or self._tag not in _BRACKETS
        return ("" if lost else kept), calls

    def _push(self, piece: str) -> Found:
        if self._over:
            return piece, []
        self._kept += piece
        fresh, content = piece, ""
        if not self._calling:
            content = self._before_tag()
            fresh = self._kept
        if not self._calling:
            return content, []
        calls = list(self._calls()) if piece[-1] in "}]" else []
        if self._closed_by(fresh):
            self._over = True
            content += "" if self._found else self._kept
            self._kept = ""
        return content, calls

    def _before_tag(self) -> str:
        """Content before the tag, taken out of what is kept."""
        if self._tag in _BRACKETS:
            return self._before_bracket()
        before, tag, rest = self._kept.partition(self._tag)
        if tag:
            self._calling, self._kept = True, tag + rest
            return before
        end = len(before) - held_back(before, self._tag)
        self._kept = before[end:]
        return before[:end]

    def _before_bracket(self) -> str:
        start = self._kept.lstrip()
        if start.startswith(_PYTHON_TAG):
            start = start[len(_PYTHON_TAG) :].lstrip()
        if start.startswith(self._tag):
            self._calling, self._kept = True, start
        elif start and not _PYTHON_TAG.startswith(start):
            self._over, content, self._kept = True, self._kept, ""
            return content
        return ""

    def _closed_by(self, text: str) -> bool:
        """Whether `text` closes the bracket that is the tag: then the calls are over."""
        closer = _BRACKETS.get(self._tag)
        if self._tag == "{":
            # Llama writes several objects; each is taken out as it is read.
            text, self._depth = self._kept if text.endswith("}") else "", 0
        for character in text if closer else "":
            self._depth += (character == self._tag) - (character == closer)
            if self._depth == 0 and character == closer:
                return True
        return False

    def _calls(self) -> Iterator[ToolCallFunction]:
        """Calls that are there to their ends, taken out of what is kept."""
        while name := self._first_name():
            found = _first_object(self._kept)
            if found is None:
                return
            loaded, end = found
            self._kept = self._kept[end:]
            arguments = _arguments(loaded, name)
            if arguments is not None:
                self._found = True
                yield ToolCallFunction(name, arguments)

    def _first_name(self) -> str:
        """The tool named first; the longer of two names that begin alike."""
        places = [(self._kept.find(name), -len(name), name) for name in self._names]
        return min((place for place in places if place[0] >= 0), default=(0, 0, ""))[2]


def _first_object(text: str) -> tuple[dict[str, Any], int] | None:
    """The first JSON object in a text and where it ends."""
    depth, start = 0, 0
    for match in _STRING_OR_BRACE.finditer(text):
        if match[0] == "{":
            start = match.start() if depth == 0 else start
            depth += 1
        elif match[0] == "}" and depth:
            depth -= 1
            if depth == 0 and (loaded := _loaded(text[start : match.end()])) is not None:
                return loaded, match.end()
    return None


def _loaded(text: str) -> dict[str, Any] | None:
    try:
        loaded = typed.load(text)
    except ValueError:
        return None
    return loaded if isinstance(loaded, dict) else None


def _arguments(loaded: dict[str, Any], name: str) -> dict[str, Any] | None:
    """The arguments in an object of some call; None where the call says that it has none."""
    found, arguments = _search(loaded, name)
    return arguments if found else loaded


def _search(loaded: dict[str, Any], name: str) -> tuple[bool, dict[str, Any] | None]:
    if "name" in loaded:
        given = (_object(loaded.get(key)) for key in ("arguments", "parameters"))
        return True, next((arguments for arguments in given if arguments is not None), None)
    if (arguments := _object(loaded.get(name))) is not None:
        return True, arguments
    for value in loaded.values():
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, dict):
                found, arguments = _search(child, name)
                if found:
                    return True, arguments
    return False, None


def _object(value: Any) -> dict[str, Any] | None:
    return _loaded(value) if isinstance(value, str) else value if isinstance(value, dict) else None
