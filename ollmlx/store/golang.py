"""Values as Go prints them: what /api/show writes, clients compare and parse.

Source: https://pkg.go.dev/fmt, https://pkg.go.dev/strconv#Quote.
"""

from decimal import Decimal
from typing import Any

_ESCAPES = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    "\\": "\\\\",
    '"': '\\"',
}


def plain(value: Any) -> str:
    """A value out of JSON as a Modelfile takes it: `%v`, but whole numbers without exponent.

    Go writes 1.234567e+06 for a seed of 1234567, which no Modelfile parser reads back.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, str) else str(value) if _is_int(value) else quoted(value)


def quoted(value: Any) -> str:
    """`%#v` of a value out of JSON, where every number is a float64: text in quotes."""
    if isinstance(value, str):
        return '"' + "".join(map(_escaped, value)) + '"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return _number(value)
    return "<nil>" if value is None else str(value)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _escaped(character: str) -> str:
    code = ord(character)
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character == " " or character.isprintable():
        return character
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _number(value: float) -> str:
    """`%g`, the shortest text that reads back the same: 4096, 0.8, 1e-05, 1.048576e+06."""
    try:
        exact = Decimal(repr(float(value)))
    except OverflowError:
        return "+Inf" if value > 0 else "-Inf"
    if not exact.is_finite():
        return {"Infinity": "+Inf", "-Infinity": "-Inf"}.get(str(exact), "NaN")
    exponent = exact.adjusted() if exact else 0
    digits = exact.normalize()
    if -4 <= exponent < 6:
        return f"{digits:f}"
    return f"{digits.scaleb(-exponent):f}e{'-' if exponent < 0 else '+'}{abs(exponent):02}"
