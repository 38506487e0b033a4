"""GBNF, llama.cpp's notation of grammars, in llguidance's variant of Lark.

llguidance's own converter does the work.  What it takes wrongly is spelled otherwise for it:
escapes by code point, characters that mean something in a Rust class, `.`, `{,n}`, and names that
differ only in ways that it drops.
Source: https://github.com/ggml-org/llama.cpp/blob/master/grammars/README.md.
"""

import re
from collections.abc import Iterator

from llguidance.gbnf_to_lark import gbnf_to_lark

_TOKEN = re.compile(
    r"""(?P<skip>\s+|\#[^\n]*)
      | (?P<literal>"(?:[^"\\]|\\.)*")
      | (?P<class>\[(?:[^\]\\]|\\.)*\])
      | (?P<rule>[\w-]+)(?P<defines>\s*::=)?
      | (?P<repeat>\{\s*\d*\s*(?:,\s*\d*\s*)?\})
      | (?P<sign>[.()|*+?])""",
    re.VERBOSE | re.DOTALL,
)
_CHARACTER = re.compile(
    r"\\x([0-9a-fA-F]{2})|\\u([0-9a-fA-F]{4})|\\U([0-9a-fA-F]{8})|\\(.)|([^\\])", re.DOTALL
)
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t"} | {c: c for c in '"\\[]'}
_ANYTHING = f"[\\x00-{chr(0x10FFFF)}]"


def to_lark(text: str) -> str:
    """The same grammar in Lark.  Raises ValueError that says where the text is no GBNF."""
    try:
        lark: str = gbnf_to_lark("".join(_spelled(text)).lstrip("\n"))
    except Exception as error:  # nothing narrower comes for a rule that is missing
        raise ValueError(str(error) or type(error).__name__) from error
    return lark


def _spelled(text: str) -> Iterator[str]:
    names: dict[str, str] = {"root": "root"}
    position = 0
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None:
            raise ValueError(f"unexpected {text[position : position + 20]!r}")
        position = token.end()
        match token.lastgroup:
            case "rule" | "defines":
                name = names.setdefault(token["rule"], f"x{len(names)}")
                yield f"\n{name} ::=" if token["defines"] else f" {name}"
            case "literal":
                yield ' "' + "".join(map(_in_literal, _characters(token[0][1:-1]))) + '"'
            case "class":
                yield " " + _class(token[0][1:-1])
            case "repeat":
                yield re.sub(r"^\{,", "{0,", re.sub(r"\s", "", token[0]))
            case "sign":
                yield f" {_ANYTHING}" if token[0] == "." else token[0]


def _characters(text: str) -> Iterator[str]:
    return (character for character, _ in _read(text))


def _read(text: str) -> Iterator[tuple[str, bool]]:
    """Characters, and whether each stands there as it is."""
    position = 0
    while position < len(text):
        found = _CHARACTER.match(text, position)
        if found is None:
            raise ValueError(f"incomplete escape in {text!r}")
        position = found.end()
        code = found[1] or found[2] or found[3]
        if code:
            yield _character(int(code, 16)), False
        elif found[4]:
            if found[4] not in _ESCAPED:
                raise ValueError(f"invalid escape \\{found[4]}")
            yield _ESCAPED[found[4]], False
        else:
            yield found[5], True


def _character(code: int) -> str:
    if code > 0x10FFFF or 0xD800 <= code < 0xE000:
        raise ValueError(f"no character has the code {code:x}")
    return chr(code)


def _in_literal(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    return character if character.isprintable() else _by_code(character)


def _class(body: str) -> str:
    """A class between brackets; `-` makes a range only where llama.cpp takes it for one."""
    negated = body.startswith("^")
    characters = list(_read(body[negated:]))
    ranges, place = set[int](), 0
    while place < len(characters):
        if characters[place + 1 : place + 2] == [("-", True)] and place + 2 < len(characters):
            ranges.add(place + 1)
            place += 2
        place += 1
    spelled = ("-" if i in ranges else _in_class(c) for i, (c, _) in enumerate(characters))
    return f"[{'^' if negated else ''}{''.join(spelled)}]"


def _in_class(character: str) -> str:
    plain = character.isalnum() or (character.isprintable() and ord(character) > 0x7F)
    return character if plain else _by_code(character)


def _by_code(character: str) -> str:
    code = ord(character)
    # Beyond \xff the converter would drop leading zeros of the code.
    return f"\\x{code:02x}" if code < 0x80 else character
