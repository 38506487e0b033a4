"""What the Tab key offers behind `%ollmlx` and `%%ollmlx`."""

from collections.abc import Iterable, Sequence
from types import SimpleNamespace
from typing import Any

from ollmlx.errors import OllmlxError
from ollmlx.notebook.arguments import CELL, COMMANDS, Argument

_PATIENCE_SECONDS = 2.0


def complete(shell: Any, event: SimpleNamespace) -> list[str]:
    """IPython's hook: `event` has the line so far and the word that is being typed."""
    words = event.text_until_cursor.split()
    if event.text_until_cursor[-1:].isspace():
        words.append("")
    if len(words) < 2:
        return []
    magic, before, typed = words[0], words[1:-1], words[-1]
    if magic == "%ollmlx":
        offered = _for_command(before, shell)
    else:
        offered = _for_arguments(CELL, before, shell)
    return sorted(word for word in offered if word.startswith(typed))


def _for_command(before: Sequence[str], shell: Any) -> Iterable[str]:
    if not before:
        return [command.name for command in COMMANDS]
    if before[0] == "help":
        return [command.name for command in COMMANDS] if len(before) == 1 else []
    arguments = [c.arguments for c in COMMANDS if c.name == before[0]]
    return _for_arguments(arguments[0], before[1:], shell) if arguments else []


def _for_arguments(
    arguments: Sequence[Argument], before: Sequence[str], shell: Any
) -> Iterable[str]:
    """Values of the flag just before, else models for who takes some, and flags."""
    last = next((a for a in arguments if before and before[-1] in a.names), None)
    if last and last.how.get("action") not in ("store_true",):
        return _values(last.completes, shell)
    flags = [name for a in arguments if a.flag for name in a.names if name.startswith("--")]
    positional = next((a for a in arguments if not a.flag), None)
    return [*flags, "--help", *(_values(positional.completes, shell) if positional else [])]


def _values(kind: str, shell: Any) -> list[str]:
    if kind == "variable":
        return [name for name in shell.user_ns if not name.startswith("_")]
    return _models() if kind == "model" else []


def _models() -> list[str]:
    """None where nobody answers: completing is no occasion for an error."""
    import httpx  # only now: loading the magics must not be felt

    from ollmlx.client import Client

    try:
        with Client(timeout=_PATIENCE_SECONDS) as client:
            return [model.model or "" for model in client.list().models]
    except (OllmlxError, ConnectionError, httpx.HTTPError):
        return []
