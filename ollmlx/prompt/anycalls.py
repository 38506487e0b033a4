"""Tool calls in whatever form: the name of a tool on offer, and an object near it.

This is how Ollama reads the calls of models that only have a Go template, and it suits all that
write JSON without tags of their own, such as Llama 3.
Source: Ollama's `tools/tools.go` as of 2026-08.
"""

import re
from collections import deque
from collections.abc import Sequence
from typing import Any

from ollmlx.prompt import typed
from ollmlx.prompt.conversation import function_of
from ollmlx.prompt.split import held_back
from ollmlx.wire.native import ToolCallFunction

Found = tuple[str, list[ToolCallFunction]]

_TOKEN = re.compile(r'\\.|["{}\[\]]', re.DOTALL)
_UP_TO_CLOSER = re.compile(r"[^}\]]*[}\]]|[^}\]]+")
# Llama 3.1 may write this token before a call.
_PYTHON_TAG = "<|python_tag|>"


class _Scan:
    """The outermost objects of a text that grows, and the end of the list that it began with.

    Each character is looked at once.  As to Ollama, quotes and backslashes are those of strings
    outside of objects too.
    """

    def __init__(self) -> None:
        self.objects = deque[tuple[int, int]]()
        """Where those begin and end that have not been taken out yet."""
        self.ended = 0
        """How many there were."""
        self.list_over = False
        self._at = self._start = self._braces = self._brackets = 0
        self._in_string = False

    def read(self, text: str) -> None:
        """All of it, what has been read before included; the last character closes something."""
        for token in _TOKEN.finditer(text, self._at):
            if token[0] == '"':
                self._in_string = not self._in_string
            elif not self._in_string:
                self._bracket(token[0], token.start())
        self._at = len(text)

    def _bracket(self, token: str, place: int) -> None:
        match token:
            case "{":
                self._start = self._start if self._braces else place
                self._braces += 1
            case "}" if self._braces:
                self._braces -= 1
                if not self._braces:
                    self.objects.append((self._start, place + 1))
                    self.ended += 1
            case "[":
                self._brackets += 1
            case "]":
                self._brackets -= 1
                self.list_over = self.list_over or not self._brackets


class AnyCalls:
    """Calls after a tag; where the tag is `{` or `[` the text must begin with it.

    The state changes only at closing brackets, so the pieces may be cut anywhere.
    """

    def __init__(self, tag: str, tools: Sequence[Any]) -> None:
        self._tag = tag
        names = (function_of(tool).get("name") for tool in tools)
        self._places = {name: -1 for name in names if name}
        """Where each tool is named first, behind what has been taken."""
        self._text = ""
        """From the tag on; before it has come, what may be its beginning."""
        self._taken = self._searched = 0
        """How much of the text was calls, and how much has been searched for names."""
        self._scan = _Scan()
        self._calling = self._over = False
        self._found = 0

    def push(self, text: str) -> Found:
        content, calls = "", list[ToolCallFunction]()
        for piece in _UP_TO_CLOSER.findall(text):
            more, found = self._push(piece)
            content += more
            calls += found
        return content, calls

    def finish(self) -> Found:
        if self._over:
            return "", []
        calls = self._calls() if self._calling else []
        lost = self._calling and (self._found or self._tag not in ("{", "["))
        return ("" if lost else self._text), calls

    def _push(self, piece: str) -> Found:
        if self._over:
            return piece, []
        text, self._text = self._text, ""
        text += piece  # held by nothing else, a string grows where it is
        self._text = text
        content = "" if self._calling else self._before_tag()
        if not self._calling or piece[-1] not in "}]":
            return content, []
        calls = self._calls()
        if self._closed():
            self._over = True
            content += self._text[self._taken if self._found else 0 :]
        return content, calls

    def _before_tag(self) -> str:
        """Content before the tag, taken out of the text."""
        if self._tag in ("{", "["):
            return self._before_bracket()
        before, tag, rest = self._text.partition(self._tag)
        if tag:
            self._calling, self._text = True, tag + rest
            return before
        end = len(before) - held_back(before, self._tag)
        self._text = before[end:]
        return before[:end]

    def _before_bracket(self) -> str:
        start = self._text.lstrip()
        content, self._text = self._text[: len(self._text) - len(start)], start
        start = start.removeprefix(_PYTHON_TAG).lstrip()
        if start.startswith(self._tag):
            self._calling, self._text = True, start
        elif start and not _PYTHON_TAG.startswith(start):
            self._over = True
            content += self._text
        return content

    def _closed(self) -> bool:
        """Whether what began with a bracket is over, so that there are no more calls."""
        if self._tag == "{":
            return self._scan.ended > self._found  # Llama writes several calls
        # As by Ollama, nothing that follows a list of calls is content.
        return self._tag == "[" and self._scan.list_over and not self._found

    def _calls(self) -> list[ToolCallFunction]:
        """Calls that are there to their ends, taken out of the text."""
        self._scan.read(self._text)
        calls = list[ToolCallFunction]()
        while (name := self._first_name()) and (found := self._first_object(name)):
            arguments, end = found
            self._taken = max(end, self._places[name] + len(name))
            if arguments is not None:
                self._found += 1
                calls.append(ToolCallFunction(name, arguments))
        return calls

    def _first_name(self) -> str:
        """The tool named first; the longer of two names that begin alike."""
        for name, place in self._places.items():
            if place < self._taken or place < 0:
                begin = self._taken if place >= 0 else self._searched - len(name) + 1
                self._places[name] = self._text.find(name, max(begin, self._taken))
        self._searched = len(self._text)
        places = [(place, -len(name), name) for name, place in self._places.items() if place >= 0]
        return min(places, default=(0, 0, ""))[2]

    def _first_object(self, name: str) -> tuple[dict[str, Any] | None, int] | None:
        """The arguments in the first object, None where it says that there are none; its end."""
        while self._scan.objects:
            start, end = self._scan.objects.popleft()
            loaded = _loaded(self._text[start:end]) if start >= self._taken else None
            if loaded is not None:
                return _arguments(loaded, name), end
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
