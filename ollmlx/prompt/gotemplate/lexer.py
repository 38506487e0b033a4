"""Go template text as tokens: literal text, and what stands between `{{` and `}}`.

Source: https://pkg.go.dev/text/template.  The rules for trimming (`{{- ` and ` -}}`) and for what
may follow a name are Go's; a wrong character becomes an ERROR token, so that mistakes before it are
reported first.
"""

import re
from enum import Enum, auto
from typing import NamedTuple

SPACE = " \t\r\n"


class Kind(Enum):
    TEXT = auto()
    OPEN = auto()
    CLOSE = auto()
    SPACE = auto()
    KEYWORD = auto()
    IDENTIFIER = auto()
    FIELD = auto()
    VARIABLE = auto()
    DOT = auto()
    NIL = auto()
    BOOL = auto()
    NUMBER = auto()
    CHAR = auto()
    STRING = auto()
    DECLARE = auto()
    ASSIGN = auto()
    PIPE = auto()
    LEFT = auto()
    RIGHT = auto()
    PUNCTUATION = auto()
    ERROR = auto()
    EOF = auto()


class Token(NamedTuple):
    kind: Kind
    text: str
    start: int
    """Offset in the template, in characters."""
    line: int
    """Counted from 1."""

    def __str__(self) -> str:
        """As Go's parse errors quote it."""
        if self.kind is Kind.EOF:
            return "EOF"
        if self.kind is Kind.ERROR:
            return self.text
        if self.kind in (Kind.KEYWORD, Kind.DOT, Kind.NIL):
            return f"<{self.text}>"
        shown = self.text[:10].replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'"{shown}"' + ("..." if len(self.text) > 10 else "")


KEYWORDS = frozenset(
    "block break continue define else end if range template with".split()  # noqa: SIM905 - reads better
)

_COMMENT = re.compile(r"\{\{(?:-[ \t\r\n])?/\*")
_ACTION = re.compile(
    r"""
    (?P<SPACE>[ \t\r\n]+?(?=[ \t\r\n]-\}\})|[ \t\r\n]+)
  | (?P<DECLARE>:=) | (?P<ASSIGN>=) | (?P<PIPE>\|) | (?P<LEFT>\() | (?P<RIGHT>\))
  | (?P<STRING>"(?:\\[^\n]|[^"\\\n])*"|`[^`]*`)
  | (?P<CHAR>'(?:\\[^\n]|[^'\\\n])*')
  | (?P<VARIABLE>\$\w*)
  | (?P<NUMBER>[+-]?(?:0[xX][0-9a-fA-F_]*|0[oO][0-7_]*|0[bB][01_]*
               |(?:\d[\d_]*)?\.?\d[\d_]*(?:[eE][+-]?\d[\d_]*)?|\d[\d_]*\.))
  | (?P<FIELD>\.\w+) | (?P<DOT>\.)
  | (?P<IDENTIFIER>\w+)
  | (?P<PUNCTUATION>[!-~])
    """,
    re.VERBOSE,
)
_CLOSE = re.compile(r"[ \t\r\n]-\}\}|\}\}")
_AFTER_NAME = re.compile(r"[ \t\r\n.,|:()]|\}\}|$")
_UNFINISHED = {
    '"': "unterminated quoted string",
    "`": "unterminated raw quoted string",
    "'": "unterminated character constant",
    ":": "expected :=",
}


class Lexer:
    """All tokens of one template; `tokens` ends with EOF or ERROR."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.line = 1
        self.tokens: list[Token] = []

    def run(self) -> list[Token]:
        while self.position < len(self.text) and not self._failed:
            self._literal()
            if self.position < len(self.text):
                self._braces()
        if not self._failed:
            self._add(Kind.EOF, "")
        return self.tokens

    @property
    def _failed(self) -> bool:
        return bool(self.tokens) and self.tokens[-1].kind is Kind.ERROR

    def _add(self, kind: Kind, text: str) -> None:
        self.tokens.append(Token(kind, text, self.position, self.line))

    def _skip(self, count: int) -> None:
        self.line += self.text.count("\n", self.position, self.position + count)
        self.position += count

    def _literal(self) -> None:
        """Text up to the next `{{`, without the white space that `{{- ` eats."""
        end = self.text.find("{{", self.position)
        end = len(self.text) if end < 0 else end
        literal = self.text[self.position : end]
        if re.match(r"-[ \t\r\n]", self.text[end + 2 : end + 4]):
            literal = literal.rstrip(SPACE)
        if literal:
            self._add(Kind.TEXT, literal)
        self._skip(end - self.position)

    def _braces(self) -> None:
        if comment := _COMMENT.match(self.text, self.position):
            self._comment(comment.end())
            return
        self._add(Kind.OPEN, "{{")
        trims = re.match(r"-[ \t\r\n]", self.text[self.position + 2 : self.position + 4])
        self._skip(4 if trims else 2)
        depth = 0
        while not self._failed:
            if close := _CLOSE.match(self.text, self.position):
                if depth:
                    self._add(Kind.ERROR, "unclosed left paren")
                else:
                    self._close(close)
                return
            depth += self._token(depth)

    def _comment(self, start: int) -> None:
        end = self.text.find("*/", start)
        if end < 0:
            self._add(Kind.ERROR, "unclosed comment")
            return
        self._skip(end + 2 - self.position)
        if close := _CLOSE.match(self.text, self.position):
            self._eat(close)
        else:
            self._add(Kind.ERROR, "comment ends before closing delimiter")

    def _close(self, close: re.Match[str]) -> None:
        self._add(Kind.CLOSE, "}}")
        self._eat(close)

    def _eat(self, close: re.Match[str]) -> None:
        """Goes past `}}`, and past the white space after ` -}}`."""
        self._skip(close.end() - self.position)
        if len(close[0]) > 2:
            rest = self.position
            while rest < len(self.text) and self.text[rest] in SPACE:
                rest += 1
            self._skip(rest - self.position)

    def _token(self, depth: int) -> int:
        """Adds one token of an action; returns by how much it deepens the parentheses."""
        match = _ACTION.match(self.text, self.position)
        if match is None or match[0] in _UNFINISHED:
            self._unknown()
            return 0
        kind, text = Kind[str(match.lastgroup)], match[0]
        if kind is Kind.RIGHT and depth == 0:
            self._add(Kind.ERROR, "unexpected right paren")
            return 0
        if mistake := self._bad_end(kind, match.end()):
            self._add(Kind.ERROR, mistake)
            return 0
        self._add(_named(kind, text), text)
        self._skip(len(text))
        return {Kind.LEFT: 1, Kind.RIGHT: -1}.get(kind, 0)

    def _bad_end(self, kind: Kind, end: int) -> str:
        after = self.text[end : end + 1]
        if kind is Kind.NUMBER and re.match(r"\w", after):
            return f'bad number syntax: "{self.text[self.position : end + 1]}"'
        names = (Kind.IDENTIFIER, Kind.FIELD, Kind.VARIABLE, Kind.DOT)
        if kind in names and not _AFTER_NAME.match(self.text, end):
            return f"bad character U+{ord(after):04X} '{after}'"
        return ""

    def _unknown(self) -> None:
        character = self.text[self.position : self.position + 1]
        if not character:
            self._add(Kind.ERROR, "unclosed action")
        elif character in _UNFINISHED:
            self._add(Kind.ERROR, _UNFINISHED[character])
        else:
            self._add(
                Kind.ERROR,
                f"unrecognized character in action: U+{ord(character):04X} '{character}'",
            )


def _named(kind: Kind, text: str) -> Kind:
    if kind is not Kind.IDENTIFIER:
        return kind
    if text in KEYWORDS:
        return Kind.KEYWORD
    if text in ("true", "false"):
        return Kind.BOOL
    return Kind.NIL if text == "nil" else kind
