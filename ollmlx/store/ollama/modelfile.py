"""The Modelfile: a model's recipe as a text of instructions.

Nothing here opens a file or looks a name up: what FROM and ADAPTER mean is for the reader to find
out.
Source: https://docs.ollama.com/modelfile.
"""

import codecs
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ollmlx.errors import BadRequest
from ollmlx.wire.native import CreateRequest, Message
from ollmlx.wire.options import PARAMETERS

INSTRUCTIONS = (
    *("from", "license", "template", "system", "adapter", "draft"),
    *("renderer", "parser", "parameter", "message", "requires"),
)
"""In the order in which Ollama's error lists them."""
ROLES = ("system", "user", "assistant")

DEPRECATED = (
    "penalize_newline",
    "low_vram",
    "f16_kv",
    "logits_all",
    "vocab_only",
    "use_mlock",
    "mirostat",
    "mirostat_tau",
    "mirostat_eta",
)
"""Parameters of old Modelfiles that are read over."""

_TRUTHS = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}
_TYPES = {"integer": "int", "float32": "float", "boolean": "bool"}
"""As errors call them here."""
_BLANKS = " \t"
_SKIPPED = re.compile(r"[ \t\r\n]+|#[^\r\n]*")
_WORD = re.compile(r"[A-Za-z]*")
_KEY = re.compile(r"[A-Za-z0-9_]*")
_LINE = re.compile(r"[^\r\n]*")
_NEWLINE = re.compile(r"\r\n|\r|\n")
_VERSION = re.compile(r"v?\d+(\.\d+(\.\d+(-[\w.-]+)?(\+[\w.-]+)?)?)?")


class BadModelfile(BadRequest):
    """A Modelfile that does not follow the grammar, or asks for what no model has."""


@dataclass(frozen=True)
class Command:
    """One instruction."""

    name: str
    """One of `INSTRUCTIONS`."""
    value: str
    key: str = ""
    """The parameter that PARAMETER sets, the role that a MESSAGE has."""

    def __str__(self) -> str:
        words = [self.name.upper(), self.key, quoted(self.value)]
        return " ".join(word for at, word in enumerate(words) if word or at == 2)


def parse(data: bytes) -> list[Command]:
    """Raises `BadModelfile` with Ollama's text, and the line where the grammar ends."""
    commands = list(_Reader(_decoded(data)).commands())
    if not any(command.name == "from" for command in commands):
        raise BadModelfile("no FROM line")
    return commands


def quoted(value: str) -> str:
    """In quotes where the grammar needs them: lines, and blanks at an end."""
    blank = value[:1] in _BLANKS or value[-1:] in _BLANKS
    if "\n" not in value and not (value and blank) and not value.startswith('"'):
        return value
    return f'"""{value}"""' if '"' in value else f'"{value}"'


def fill(request: CreateRequest, commands: Iterable[Command]) -> list[str]:
    """Put everything that names no file into `request`.

    Returns the deprecated parameters that were read over.  Raises `BadModelfile`.
    """
    deprecated, licenses = [], []
    for command in commands:
        match command.name:
            case "template" | "system" | "renderer" | "parser":
                setattr(request, command.name, command.value)
            case "requires":
                request.requires = _version(command.value)
            case "license":
                licenses.append(command.value)
            case "message":
                request.messages = [*request.messages, Message(command.key, command.value)]
            case "parameter" if command.key in DEPRECATED:
                deprecated.append(command.key)
            case "parameter":
                request.parameters = with_parameter(request.parameters, command)
    request.license = licenses or request.license
    return deprecated


def with_parameter(parameters: dict[str, Any], command: Command) -> dict[str, Any]:
    """The parameters and the one that a PARAMETER sets; `stop` gathers.  Raises `BadModelfile`."""
    value = typed(command.key, command.value)
    if isinstance(value, list):
        value = [*parameters.get(command.key, []), *value]
    return {**parameters, command.key: value}


def typed(key: str, value: str) -> Any:
    """The value of a parameter in its own type.  Raises `BadModelfile`."""
    match PARAMETERS.get(key):
        case "array":
            return [value]
        case "boolean" if value in _TRUTHS:
            return _TRUTHS[value]
        case "integer" if re.fullmatch(r"[+-]?\d+", value) and abs(int(value[:20])) < 1 << 63:
            return int(value)
        case "float32" if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", value):
            # Ollama keeps a float32, and writes the shortest text of it.
            return float(str(np.float32(value)))
        case None:
            raise BadModelfile(f"unknown parameter '{key}'")
        case kind:
            raise BadModelfile(f"invalid {_TYPES[kind]} value [{value}]")


def _version(value: str) -> str:
    if not _VERSION.fullmatch(value):
        raise BadModelfile("requires must be a valid semver (e.g. 0.14.0)")
    return value.removeprefix("v")


def _decoded(data: bytes) -> str:
    for mark, encoding in (
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
    ):
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace")
    return data.decode("utf-8", "replace")


class _Reader:
    """Walks the text once, from front to back."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def commands(self) -> Iterator[Command]:
        while self._skip():
            name = self._name()
            if name == "parameter":
                key = self._key(_KEY)
            elif name == "message":
                key = self._role()
            else:
                key = ""
            yield Command(name, self._value(), key)

    def _skip(self) -> bool:
        """Step over blanks and comments; whether anything follows."""
        while self._take(_SKIPPED):
            pass
        return self._at < len(self._text)

    def _take(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        self._at = found.end() if found else self._at
        return found[0] if found else ""

    def _name(self) -> str:
        name = self._take(_WORD).lower()
        if self._at == len(self._text):
            raise BadModelfile("unexpected EOF")
        if name not in INSTRUCTIONS or self._text[self._at] not in _BLANKS:
            named = ", ".join(f'"{one}"' for one in INSTRUCTIONS[:-1])
            raise self._wrong(f'command must be one of {named}, or "requires"')
        return name

    def _key(self, pattern: re.Pattern[str]) -> str:
        while self._text[self._at : self._at + 1] in tuple(_BLANKS):
            self._at += 1
        key = self._take(pattern)
        if self._at == len(self._text):
            raise BadModelfile("unexpected EOF")
        if self._text[self._at] not in _BLANKS:
            raise BadModelfile(f"unexpected EOF: {key}")
        return key

    def _role(self) -> str:
        role = self._key(_WORD)
        if role not in ROLES:
            raise self._wrong('message role must be one of "system", "user", or "assistant"')
        return role

    def _value(self) -> str:
        """Up to the end of the line, or of the line where an open quote ends."""
        lines = [self._take(_LINE)]
        while (value := _unquoted(lines)) is None:
            if self._at == len(self._text):
                raise BadModelfile("unexpected EOF")
            lines += [self._take(_NEWLINE), self._take(_LINE)]
        return value

    def _wrong(self, message: str) -> BadModelfile:
        newline = _NEWLINE.match(self._text, self._at)
        end = newline.end() if newline else self._at
        line = 1 + len(_NEWLINE.findall(self._text, 0, end))
        return BadModelfile(f"(line {line}): {message}")


def _unquoted(lines: list[str]) -> str | None:
    """The value in these lines and the ends between them; None while a quote is open."""
    start = next((line.lstrip() for line in lines if line.strip()), "")
    quote = '"""' if start.startswith('"""') else '"' if start.startswith('"') else ""
    if quote and not lines[-1].rstrip().endswith(quote):
        return None
    text = "".join(lines).strip()
    if len(text) < 2 * len(quote):
        return None
    inner = text[len(quote) : len(text) - len(quote)]
    return "".join(c for c in inner if c.isprintable() or c in "\t\r\n")
