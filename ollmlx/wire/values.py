"""Values of requests that have a grammar of their own: durations, thinking, base64, choices."""

import base64
import binascii
import re
from collections.abc import Callable
from typing import Any

from ollmlx.errors import Malformed, Mismatch
from ollmlx.settings import FOREVER, parse_duration

THINK_LEVELS = ("high", "medium", "low", "max")
_THINK = '"high", "medium", "low", "max", true, or false'
_TOOL_CHOICE = '"auto", "none", "required" or {"type": "function", "function": {"name": …}}'
_GO_TYPES = {
    bool: "bool",
    str: "string",
    list: "[]interface {}",
    dict: "map[string]interface {}",
    type(None): "<nil>",
}
_NO_DIGIT = re.compile(rb"[^A-Za-z0-9+/\r\n]")


def go_type(value: Any) -> str:
    """What Go calls the type of a JSON value of any kind."""
    return _GO_TYPES.get(type(value), "float64")


def _keep_alive(value: Any) -> float:
    """Seconds; negative is for ever.  A bare number is seconds, a text a Go duration."""
    match value:
        case str():
            seconds = parse_duration(value)
        case int() | float() if not isinstance(value, bool):
            seconds = float(value)
        case _:
            raise Malformed(f"Unsupported type: '{go_type(value)}'")
    return FOREVER if seconds < 0 else seconds


def _think(value: Any) -> bool | str:
    if isinstance(value, bool) or value in THINK_LEVELS:
        return value  # type: ignore[no-any-return]  # narrowed to bool or str by the line above
    if isinstance(value, str):
        raise Malformed(f'invalid think value: "{value}" (must be {_THINK})')
    raise Malformed(f"think must be a boolean or string ({_THINK})")


def base64_text(text: str) -> str:
    """The text itself.  Raises `Mismatch` where Go reads no base64 in it."""
    plain = text.replace("\r", "").replace("\n", "")
    try:
        fits = len(plain) % 4 == 0 and base64.b64decode(plain, validate=True) is not None
    except (binascii.Error, ValueError):
        fits = False
    if not fits and (at := _no_base64(text.encode("utf-8", "replace"))) is not None:
        raise Mismatch(f"illegal base64 data at input byte {at}")
    return text


def _image(value: Any) -> Any:
    """What is no text is another check's to refuse."""
    return base64_text(value) if isinstance(value, str) else value


def _no_base64(data: bytes) -> int | None:
    """Where Go's decoder finds that this is no standard base64 with padding; None where it is."""
    wrong = _NO_DIGIT.search(data)
    end = wrong.start() if wrong else len(data)
    begun = (end - data.count(b"\r", 0, end) - data.count(b"\n", 0, end)) % 4
    if not wrong:
        return len(data) - begun if begun else None
    if wrong[0] != b"=" or begun < 2:
        return end
    following = (at for at in range(end + 1, len(data)) if data[at] not in b"\r\n")
    if begun == 2:
        second = next(following, len(data))
        if data[second : second + 1] != b"=":
            return second - 1 if second < len(data) else second
    return next(following, None)


def ordered(value: Any) -> Any:
    """Ollama reads these objects with another library, which keeps their order."""
    if not isinstance(value, dict):
        raise Mismatch("Value looks like object, but can't find closing '}' symbol")
    return value


def _tool_choice(value: Any) -> Any:
    match value:
        case "auto" | "none" | "required":
            return value
        case {"type": "function", "function": {"name": str()}}:
            return value
    raise Malformed(f"tool_choice must be {_TOOL_CHOICE}")


def _thinking_budget(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool) and value < 0:
        raise Malformed("thinking_budget must not be negative")
    return value


def _anthropic_messages(value: Any) -> Any:
    return [_anthropic_message(item) for item in value] if isinstance(value, list) else value


def _anthropic_message(value: Any) -> Any:
    """A text stands for one block of it."""
    message = {} if value is None else value
    if not isinstance(message, dict):
        return value
    content = {key: message[key] for key in message if key.lower() == "content"}
    if not content:
        raise Malformed("unexpected end of JSON input")
    blocks = {key: [{"type": "text", "text": c}] for key, c in content.items() if type(c) is str}
    return message | blocks


PARSERS: dict[str, Callable[[Any], Any]] = {
    "anthropic_messages": _anthropic_messages,
    "keep_alive": _keep_alive,
    "think": _think,
    "image": _image,
    "ordered": ordered,
    "tool_choice": _tool_choice,
    "thinking_budget": _thinking_budget,
}
