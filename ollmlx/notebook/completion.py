"""What the Tab key offers behind `%ollmlx` and `%%ollmlx`."""

from collections.abc import Iterable, Sequence

from IPython.core.completer import (
    CompletionContext,
    SimpleCompletion,
    SimpleMatcherResult,
    context_matcher,
)
from IPython.core.interactiveshell import InteractiveShell

from ollmlx.errors import OllmlxError
from ollmlx.notebook.arguments import BITS, CELL, COMMANDS, THINKING, Argument

_PATIENCE_SECONDS = 2.0
_LINE, _CELL = "%ollmlx", "%%ollmlx"


def install(shell: InteractiveShell) -> None:
    """Once for each shell, however often the extension is loaded."""
    uninstall(shell)

    @context_matcher(identifier=_LINE)  # type: ignore[untyped-decorator]  # IPython has no types for it
    def matcher(context: CompletionContext) -> SimpleMatcherResult:
        magic, _, rest = context.text_until_cursor.lstrip().partition(" ")
        if magic not in (_LINE, _CELL) or not context.text_until_cursor.partition(magic)[2]:
            return {"completions": []}
        theirs = [name for name in shell.user_ns if name not in shell.user_ns_hidden]
        typed, offered = complete(magic, rest, theirs)
        # Whatever else Python could mean there is left out.
        return {
            "completions": [SimpleCompletion(word, type="magic") for word in offered],
            "matched_fragment": typed,
            "suppress": True,
        }

    shell.Completer.custom_matchers.append(matcher)


def uninstall(shell: InteractiveShell) -> None:
    matchers = shell.Completer.custom_matchers
    matchers[:] = [m for m in matchers if getattr(m, "matcher_identifier", "") != _LINE]


def complete(magic: str, line: str, variables: Iterable[str]) -> tuple[str, list[str]]:
    """The word that is being typed at the end of a magic's line, and those that it may become."""
    *before, typed = line.split(" ")
    before = [word for word in before if word]
    if magic == _LINE:
        offered = _for_command(before, variables)
    else:
        offered = _for_arguments(CELL, before, variables)
    if before[-1:] == ["--tools"]:  # names with commas between
        typed = typed.rpartition(",")[2]
    return typed, sorted({word for word in offered if word.startswith(typed)})


def _for_command(before: Sequence[str], variables: Iterable[str]) -> Iterable[str]:
    names = [command.name for command in COMMANDS]
    if not before or before == ["help"]:
        return names
    arguments = [command.arguments for command in COMMANDS if command.name == before[0]]
    return _for_arguments(arguments[0], before[1:], variables) if arguments else []


def _for_arguments(
    arguments: Sequence[Argument], before: Sequence[str], variables: Iterable[str]
) -> Iterable[str]:
    """Values of the flag just before, or else flags, and models for who takes some."""
    last = next((a for a in arguments if before and before[-1] in a.names), None)
    if last and last.completes == "level":
        return [*THINKING, *_for_arguments(arguments, before[:-1], variables)]
    if last and last.how.get("action") != "store_true":
        return _values(last.completes, variables)
    flags = [name for a in arguments if a.flag for name in a.names if name.startswith("--")]
    kinds = [a.completes for a in arguments if not a.flag]
    return [*flags, "--help", *(word for kind in kinds for word in _values(kind, variables))]


def _values(kind: str, variables: Iterable[str]) -> list[str]:
    if kind in ("variable", "shape"):
        names = [name for name in variables if not name.startswith("_")]
        return [*names, "json"] if kind == "shape" else names
    if kind == "bits":
        return list(BITS)
    return _models() if kind == "model" else []


def _models() -> list[str]:
    """None where nobody answers: completing is no occasion for an error."""
    import httpx  # only now: loading the magics must not be felt
    import ollama

    from ollmlx.client import Client

    try:
        with Client(timeout=_PATIENCE_SECONDS) as client:
            return [model.model or "" for model in client.list().models]
    except (OllmlxError, ollama.ResponseError, ConnectionError, httpx.HTTPError):
        return []
