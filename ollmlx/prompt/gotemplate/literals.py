"""What Go's literals mean: quoted strings, characters and numbers."""

import re

_SIMPLE = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\\": "\\",
}
_ESCAPE = re.compile(
    r"\\(?:x([0-9a-fA-F]{2})|([0-7]{3})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL
)


def unquote(literal: str) -> str:
    """The text of a Go string literal; `\\x` and octal escapes are bytes of UTF-8.

    Raises ValueError for an escape that Go does not know.
    """
    quote, body = literal[0], literal[1:-1]
    if quote == "`":
        return body.replace("\r", "")
    pieces, position = bytearray(), 0
    for match in _ESCAPE.finditer(body):
        pieces += body[position : match.start()].encode()
        pieces += _escaped(match, quote)
        position = match.end()
    return (pieces + body[position:].encode()).decode(errors="replace")


def _escaped(match: re.Match[str], quote: str) -> bytes:
    hexadecimal, octal, short, long, simple = match.groups()
    if hexadecimal or octal:
        value = int(hexadecimal, 16) if hexadecimal else int(octal, 8)
        if value > 255:
            raise ValueError("invalid syntax")
        return bytes([value])
    if short or long:
        return _rune(int(short or long, 16)).encode()
    character = simple if simple == quote else _SIMPLE.get(simple)
    if character is None:
        raise ValueError("invalid syntax")
    return character.encode()


def _rune(value: int) -> str:
    if value > 0x10FFFF or 0xD800 <= value < 0xE000:
        raise ValueError("invalid syntax")
    return chr(value)


def character(literal: str) -> int:
    """The code point of `'x'`.  Raises ValueError."""
    text = unquote(literal)
    if len(text) != 1:
        raise ValueError(f"malformed character constant: {literal}")
    return ord(text)


def number(literal: str) -> int | float:
    """An int or a float64, as the way it is written says.  Raises ValueError."""
    digits = literal.lstrip("+-")
    try:
        if re.fullmatch(r"0[0-7_]+", digits):
            value = int(digits.replace("_", ""), 8)
        elif "." in digits or (not digits.lower().startswith("0x") and "e" in digits.lower()):
            return float(literal)
        else:
            value = int(digits, 0)
    except ValueError:
        raise ValueError(f'illegal number syntax: "{literal}"') from None
    if value >= 2**63:
        raise ValueError(f"integer overflow: {literal}")
    return -value if literal.startswith("-") else value
