"""Go's `fmt` for the values a template can hold: Sprint, Sprintln and Sprintf.

Source: https://pkg.go.dev/fmt.  A verb that does not suit its value prints Go's complaint, such as
`%!d(string=hi)`, instead of failing.
"""

import json
import math
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

from ollmlx.prompt.gotemplate.values import (
    Struct,
    text_method,
    type_name,
)

LONGEST = 32 * 1024 * 1024
"""Characters any text a template makes may have."""

MOST_SECONDS = 3.0
"""Of the processor; a chat of 1,000 messages takes 0.1."""

_deadline: ContextVar[float] = ContextVar("deadline", default=math.inf)
"""By the thread's own clock, of the template that it runs."""

WIDEST = 1_000_000
"""Go's own bound on a width or precision."""


class TooLong(ValueError):
    """A template makes more text than `LONGEST`."""

    def __init__(self) -> None:
        super().__init__("output is too long")


class TooSlow(ValueError):
    """A template runs for more than `MOST_SECONDS`."""

    def __init__(self) -> None:
        super().__init__("the template takes too long")


@contextmanager
def limited() -> Iterator[None]:
    """While a template runs in this thread."""
    before = _deadline.set(time.thread_time() + MOST_SECONDS)
    try:
        yield
    finally:
        _deadline.reset(before)


def look() -> None:
    """Raises TooSlow where the template has run long enough."""
    if time.thread_time() > _deadline.get():
        raise TooSlow


def join(pieces: Iterable[str]) -> str:
    """Pieces as one text.  Raises TooLong before the memory is spent, and TooSlow."""
    look()
    kept, length = list[str](), 0
    for piece in pieces:
        length += len(piece)
        if length > LONGEST:
            raise TooLong
        kept.append(piece)
    return "".join(kept)


def sprint(values: Sequence[Any]) -> str:
    """Values one after another, with a blank between two that are not strings."""
    pieces: list[str] = []
    for index, value in enumerate(values):
        if index and not isinstance(value, str) and not isinstance(values[index - 1], str):
            pieces.append(" ")
        pieces.append(text_of(value))
    return join(pieces)


def sprintln(values: Sequence[Any]) -> str:
    return join((" ".join(text_of(value) for value in values), "\n"))


def text_of(value: Any) -> str:
    """As `%v`."""
    return value if isinstance(value, str) else _format(value, Verb("v"))


class Verb(NamedTuple):
    """One `%…` of a format."""

    letter: str
    flags: str = ""
    width: int = 0
    precision: int | None = None

    def bare(self) -> "Verb":
        return self._replace(width=0)


_VERB = re.compile(r"%([-+# 0]*)(\*|\d+)?(?:\.(\*|\d+)?)?(?:\[(\d+)\])?(.?)", re.DOTALL)


def sprintf(layout: str, values: Sequence[Any]) -> str:
    """A layout with its verbs replaced by `values` in order."""
    return join(_Printf(layout, values).pieces())


class _Printf:
    def __init__(self, layout: str, values: Sequence[Any]) -> None:
        self.layout = layout
        self.values = values
        self.used = 0
        self.reordered = False

    def pieces(self) -> Iterable[str]:
        position = 0
        for match in _VERB.finditer(self.layout):
            yield self.layout[position : match.start()]
            yield self._verb(match)
            position = match.end()
        yield self.layout[position:]
        if not self.reordered and self.used < len(self.values):
            extra = ", ".join(
                "<nil>" if value is None else f"{type_name(value)}={text_of(value)}"
                for value in self.values[self.used :]
            )
            yield f"%!(EXTRA {extra})"

    def _verb(self, match: re.Match[str]) -> str:
        flags, width, precision, index, letter = match.groups()
        if not letter:
            return "%!(NOVERB)"
        if letter == "%":
            return "%"
        columns, dot = self._size(width), "." in match[0].partition(letter)[0][1:]
        digits = self._size(precision) if dot else None
        if columns < 0:
            flags, columns = flags + "-", -columns
        if max(columns, digits or 0) > WIDEST:
            return "%!(NOVERB)"
        if index:
            self.reordered, self.used = True, int(index) - 1
        if not 0 <= self.used < len(self.values):
            return f"%!{letter}({'BADINDEX' if index else 'MISSING'})"
        value = self.values[self.used]
        self.used += 1
        return _format(value, Verb(letter, flags, columns, digits))

    def _size(self, text: str | None) -> int:
        if text != "*":
            return int(text[:8]) if text else 0
        value = self.values[self.used] if self.used < len(self.values) else 0
        self.used += 1
        return value if isinstance(value, int) else 0


def _format(value: Any, verb: Verb) -> str:
    if verb.letter == "v" and "+" in verb.flags and not isinstance(value, Struct | dict | list):
        verb = verb._replace(flags=verb.flags.replace("+", ""))
    if verb.letter == "T":
        return _pad(type_name(value), verb)
    if value is None:
        return _pad("<nil>", verb) if verb.letter == "v" else f"%!{verb.letter}(<nil>)"
    stringer = text_method(value) if verb.letter in "vsqxX" else None
    if stringer is not None:
        return _string(stringer, verb)
    match value:
        case bool():
            return _bool(value, verb)
        case int():
            return _integer(value, verb)
        case float():
            return _float(value, verb)
        case str():
            return _string(value, verb)
        case bytes() if verb.letter in "sqxX":
            return _string(value.decode(errors="replace"), verb)
    return _composite(value, verb)


def _composite(value: Any, verb: Verb) -> str:
    if isinstance(value, Struct):
        named = "+" in verb.flags
        inner = (f"{k}:" * named + _element(v, verb) for k, v in value.fields.items())
        return "{" + join(_blanks(inner)) + "}"
    if isinstance(value, dict):
        items = sorted(value.items(), key=lambda item: item[0].encode())
        entries = (f"{_format(k, verb)}:{_element(v, verb)}" for k, v in items)
        return "map[" + join(_blanks(entries)) + "]"
    return "[" + join(_blanks(_element(v, verb) for v in value)) + "]"


def _element(value: Any, verb: Verb) -> str:
    """A value inside another: nil prints as such whatever the verb."""
    return "<nil>" if value is None else _format(value, verb)


def _blanks(pieces: Iterable[str]) -> Iterable[str]:
    for index, piece in enumerate(pieces):
        yield " " + piece if index else piece


def _mismatch(value: Any, verb: Verb) -> str:
    plain = verb._replace(letter="v", flags=verb.flags.replace("#", ""))
    return f"%!{verb.letter}({type_name(value)}={_format(value, plain)})"


def _pad(text: str, verb: Verb) -> str:
    if "-" in verb.flags:
        return text.ljust(verb.width)
    if "0" in verb.flags and text[:1] in ("-", "+") and verb.letter not in "sqv":
        return text[0] + text[1:].rjust(verb.width - 1, "0")
    return text.rjust(verb.width, "0" if "0" in verb.flags else " ")


def _bool(value: bool, verb: Verb) -> str:
    if verb.letter not in "tv":
        return _mismatch(value, verb)
    return _pad("true" if value else "false", verb)


def _integer(value: int, verb: Verb) -> str:
    match verb.letter:
        case "v" | "d":
            digits = str(abs(value))
        case "x" | "X" | "o" | "O" | "b":
            digits = format(abs(value), verb.letter.replace("O", "o"))
            prefix = {"x": "0x", "X": "0X", "o": "0", "b": "0b"}
            digits = prefix.get(verb.letter, "") * ("#" in verb.flags) + digits
            digits = "0o" * (verb.letter == "O") + digits
        case "c" | "q" | "U":
            return _pad(_rune(value, verb), verb)
        case _:
            return _mismatch(value, verb)
    if verb.precision is not None:
        digits = digits.rjust(verb.precision, "0")
    return _pad(_sign(value < 0, verb) + digits, verb)


def _rune(value: int, verb: Verb) -> str:
    shown = chr(value) if 0 <= value <= 0x10FFFF and not 0xD800 <= value < 0xE000 else "\ufffd"
    if verb.letter == "U":
        return f"U+{value:04X}" + f" '{shown}'" * ("#" in verb.flags and shown.isprintable())
    escaped = quoted(shown)[1:-1].replace('\\"', '"').replace("'", "\\'")
    return shown if verb.letter == "c" else f"'{escaped}'"


def _sign(negative: bool, verb: Verb) -> str:
    if negative:
        return "-"
    return "+" if "+" in verb.flags else " " if " " in verb.flags else ""


def _float(value: float, verb: Verb) -> str:
    letter, precision = verb.letter, verb.precision
    if letter not in "vgGeEfFxX":
        return _mismatch(value, verb)
    if value != value or value in (float("inf"), float("-inf")):
        return _pad({"inf": "+Inf", "-inf": "-Inf"}.get(repr(value), "NaN"), verb)
    if letter in "xX" and precision is None:
        mantissa, _, power = abs(value).hex().partition("p")
        digits = f"{mantissa.rstrip('0').rstrip('.')}p{int(power):+03d}"
        digits = digits.upper() if letter == "X" else digits
    elif letter in "xX":
        return _mismatch(value, verb)
    elif letter in "eEfF":
        digits = format(abs(value), f".{6 if precision is None else precision}{letter}")
    elif precision is None:
        digits = _general(abs(value), letter)
    else:
        digits = format(abs(value), f".{precision}{'G' if letter == 'G' else 'g'}")
    return _pad(_sign(value < 0 or str(value) == "-0.0", verb) + digits, verb)


def _general(value: float, letter: str) -> str:
    """The shortest digits, with an exponent below 1e-04 and from 1e+06 on, as Go's `%g`."""
    shortest, power = repr(value), int(f"{value:e}".partition("e")[2]) if value else 0
    digits = shortest.partition("e")[0].replace(".", "").strip("0")
    if value and float(f"1e{power}") > value:
        power -= 1  # `:e` had rounded up.
    if -4 <= power < 6:
        return shortest.removesuffix(".0")
    if len(digits) > 1:
        digits = f"{digits[0]}.{digits[1:]}"
    return f"{digits}{'E' if letter == 'G' else 'e'}{power:+03d}"


def _string(text: str, verb: Verb) -> str:
    match verb.letter:
        case "v" | "s":
            shown = text if verb.precision is None else text[: verb.precision]
            if verb.letter == "v" and "#" in verb.flags:
                shown = quoted(text)
        case "q":
            text = text[: verb.precision]
            raw = "#" in verb.flags and not re.search(r"[\x00-\x08\x0a-\x1f`\x7f]", text)
            shown = f"`{text}`" if raw else quoted(text, ascii_only="+" in verb.flags)
        case "x" | "X":
            data, apart = text.encode()[: verb.precision], " " * (" " in verb.flags)
            prefix = "0x" * ("#" in verb.flags and bool(data))
            shown = prefix + (data.hex(apart) if apart else data.hex()).replace(" ", apart + prefix)
            shown = shown.upper() if verb.letter == "X" else shown
        case _:
            return _mismatch(text, verb)
    return _pad(shown, verb)


def quoted(text: str, ascii_only: bool = False) -> str:
    """Between double quotes, with Go's escapes."""
    quoted = json.dumps(text, ensure_ascii=False)
    hidden = (c for c in set(quoted) if c > "\x7f" and (ascii_only or not c.isprintable()))
    quoted = quoted.translate({ord(c): _by_code(ord(c)) for c in hidden})
    return re.sub(
        r"\\u00([01][0-9a-f])|\x7f",
        lambda match: {"07": "\\a", "0b": "\\v"}.get(match[1], f"\\x{match[1] or '7f'}"),
        quoted,
    )


def _by_code(code: int) -> str:
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
