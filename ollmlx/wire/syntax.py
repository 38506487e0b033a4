"""What Go's `encoding/json` says of text that is no JSON, character by character.

Source: Go's `encoding/json/scanner.go`, whose states are followed here.
"""

import re
from typing import NoReturn

from ollmlx.errors import Malformed

MAX_DEPTH = 10_000
ENDED = "unexpected EOF"
_SPACE = re.compile(rb"[ \t\r\n]*")
_INSIDE_STRING = re.compile(rb'(?:[^"\\\x00-\x1f]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*')
_DIGITS = re.compile(rb"[0-9]*")
_HEX = re.compile(rb"[0-9a-fA-F]*")
_LITERALS = {b"t": b"true", b"f": b"false", b"n": b"null"}
_CLOSING = {b"{": b"}", b"[": b"]"}
_AFTER = {b"{": "after object key:value pair", b"[": "after array element"}
_KEY = "looking for beginning of object key string"
_VALUE = "looking for beginning of value"
_ESCAPES = {"\a": "a", "\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t", "\v": "v"}


def check(data: bytes) -> None:
    """Raises `Malformed` where the first value of `data` cannot be read."""
    at, inside, wanted = 0, list[bytes](), "value"
    while wanted != "next" or inside:
        at = _space(data, at)
        character = data[at : at + 1]
        if not character:
            raise Malformed(ENDED)
        empty = wanted.startswith("first") or wanted == "next"
        if empty and inside and character == _CLOSING[inside[-1]]:
            inside.pop()
            at, wanted = at + 1, "next"
        elif wanted == "next":
            at, wanted = _comma(data, at, inside[-1])
        elif wanted.endswith("key"):
            at, wanted = _key(data, at)
        elif character in _CLOSING:
            if len(inside) == MAX_DEPTH:
                refuse(data, at, "exceeded max depth")
            inside.append(character)
            at, wanted = at + 1, "first key" if character == b"{" else "first value"
        else:
            at, wanted = _scalar(data, at), "next"


def _space(data: bytes, at: int) -> int:
    found = _SPACE.match(data, at)
    return found.end() if found else at


def _comma(data: bytes, at: int, inside: bytes) -> tuple[int, str]:
    if data[at : at + 1] != b",":
        refuse(data, at, _AFTER[inside])
    return at + 1, "key" if inside == b"{" else "value"


def _key(data: bytes, at: int) -> tuple[int, str]:
    if data[at : at + 1] != b'"':
        refuse(data, at, _KEY)
    at = _space(data, _string(data, at))
    if data[at : at + 1] != b":":
        refuse(data, at, "after object key")
    return at + 1, "value"


def _scalar(data: bytes, at: int) -> int:
    first = data[at : at + 1]
    if first == b'"':
        return _string(data, at)
    if first in _LITERALS:
        return _literal(data, at, _LITERALS[first])
    if first == b"-" or first.isdigit():
        return _number(data, at)
    refuse(data, at, _VALUE)


def _string(data: bytes, at: int) -> int:
    found = _INSIDE_STRING.match(data, at + 1)
    end = found.end() if found else at + 1
    match data[end : end + 1], data[end + 1 : end + 2]:
        case b'"', _:
            return end + 1
        case b"\\", b"u":
            digits = _HEX.match(data, end + 2)
            wrong = digits.end() if digits else end + 2
            refuse(data, wrong, "in \\u hexadecimal character escape")
        case b"\\", _:
            refuse(data, end + 1, "in string escape code")
    refuse(data, end, "in string literal")


def _literal(data: bytes, at: int, word: bytes) -> int:
    for offset, expected in enumerate(word):
        if data[at + offset : at + offset + 1] != bytes([expected]):
            expecting = f"in literal {word.decode()} (expecting '{chr(expected)}')"
            refuse(data, at + offset, expecting)
    return at + len(word)


def _number(data: bytes, at: int) -> int:
    at += data[at : at + 1] == b"-"
    if data[at : at + 1] == b"0":
        at += 1
    else:
        at = _digits(data, at, "in numeric literal")
    if data[at : at + 1] == b".":
        at = _digits(data, at + 1, "after decimal point in numeric literal")
    if data[at : at + 1] in (b"e", b"E"):
        at += 1 + (data[at + 1 : at + 2] in (b"+", b"-"))
        at = _digits(data, at, "in exponent of numeric literal")
    return at


def _digits(data: bytes, at: int, otherwise: str) -> int:
    found = _DIGITS.match(data, at)
    if not found or found.end() == at:
        refuse(data, at, otherwise)
    return found.end()


def refuse(data: bytes, at: int, where: str) -> NoReturn:
    """Raise `Malformed` for the character at a place, or for the end of the text."""
    if at >= len(data):
        raise Malformed(ENDED)
    raise Malformed(f"invalid character {_shown(chr(data[at]))} {where}")


def _shown(character: str) -> str:
    """A byte as Go shows it: of a character of several bytes, the first as Latin-1."""
    if character == "'":
        return r"'\''"
    if character in _ESCAPES:
        return f"'\\{_ESCAPES[character]}'"
    if character == "\\":
        return r"'\\'"
    if character.isprintable():
        return f"'{character}'"
    code = ord(character)
    return f"'\\x{code:02x}'" if code < 0x80 else f"'\\u{code:04x}'"
