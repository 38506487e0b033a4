"""From the words of a command line to the function that does what they say."""

import io
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import NoReturn

from ollmlx.cli import flags
from ollmlx.cli.commands import ROOT_FLAGS, Command, find, shown
from ollmlx.cli.flags import Misused
from ollmlx.cli.terminal import program, say, tell
from ollmlx.errors import OllmlxError

_SUGGESTED_CHANGES = 2
_KILLED = 128


class NoHome(OllmlxError):
    """The user, often a number that a container was given, has no directory for models and keys."""

    def __init__(self) -> None:
        super().__init__("there is no home directory: set HOME to a folder of yours")


def main() -> NoReturn:
    _speak_utf8()
    try:
        run([_text(word) for word in sys.argv[1:]])
        sys.stdout.flush()
    except OllmlxError as error:
        tell(f"Error: {error}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(_KILLED + signal.SIGINT)
    except BrokenPipeError:  # who read us has enough
        _drop_the_rest()
        sys.exit(_KILLED + signal.SIGPIPE)
    except OSError as error:  # a full disk behind stdout, a file that is not for us
        _drop_the_rest()
        what = f"{error.filename}: " if error.filename else ""
        tell(f"Error: {what}{(error.strerror or str(error)).lower()}")
        sys.exit(1)
    sys.exit(0)


def _speak_utf8() -> None:
    """Whatever the locale; bytes that are none are U+FFFD, as Go writes them into JSON.

    What the caller has closed reads and writes nothing.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name) or open(os.devnull, mode)  # noqa: SIM115 — open to our end
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="replace")
        setattr(sys, name, stream)


def _text(word: str) -> str:
    """A word without the surrogates that Python has for bytes that are no text."""
    return word.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _drop_the_rest() -> None:
    """The interpreter would complain when it flushes at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run(words: list[str]) -> None:
    """Raises `OllmlxError` for what the user can mend."""
    at = next((i for i, word in enumerate(words) if word[:1] != "-" or word == "-"), len(words))
    if at == len(words):
        _root(words)
        return
    name, rest = words[at], words[:at] + words[at + 1 :]
    if not (command := find(name)):
        flags.read(words[:at], ROOT_FLAGS)
        raise Misused(f'unknown command "{name}" for "{program()}"{_suggestions(name)}')
    _command(command, rest)


def _root(words: list[str]) -> None:
    given = flags.read(words, ROOT_FLAGS)
    if given.on("version") and not given.on("help"):
        from ollmlx.cli.version import show_version  # only now: it loads an HTTP client

        show_version()
    else:
        from ollmlx.cli.help import overview

        say(overview(), end="")


def _command(command: Command, rest: list[str]) -> None:
    words = flags.read(rest, command.flags)
    if words.on("help"):
        from ollmlx.cli.help import page

        say(page(command), end="")
        return
    command.check(words)
    if os.path.expanduser("~") == "~":
        raise NoHome
    if command.needs == "nothing":
        command.function(words)
        return
    with _connected(command.needs == "engine") as connection:
        command.function(words, connection)


@contextmanager
def _connected(or_own_engine: bool) -> Iterator[object]:
    """A connection to the server; to an engine of our own where nobody serves.

    Raises `Unreachable`.
    """
    from ollmlx.cli.connection import Connection, Unreachable, server
    from ollmlx.servers import NoServer

    try:
        far_end = server()
    except NoServer as error:
        if not or_own_engine:
            raise Unreachable from error
        from ollmlx.cli.serving import own_engine

        with own_engine() as own, closing(Connection(own)) as connection:
            yield connection
        return
    with closing(Connection(far_end)) as connection:
        connection.greet()
        yield connection


def _suggestions(typed: str) -> str:
    """Commands that differ in two letters at most, or begin so."""
    near = [
        command.name
        for command in shown()
        if _distance(typed.lower(), command.name) <= _SUGGESTED_CHANGES
        or command.name.startswith(typed.lower())
    ]
    return "\n\nDid you mean this?\n" + "".join(f"\t{name}\n" for name in near) if near else ""


def _distance(one: str, other: str) -> int:
    """Letters to change, take out or put in to make one the other (Levenshtein)."""
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        above, row[0] = row[0], i
        for j, wanted in enumerate(other, 1):
            best = min(row[j] + 1, row[j - 1] + 1, above + (letter != wanted))
            above, row[j] = row[j], best
    return row[-1]
