"""What ends a cell of the magics, and what the user's own code may raise in one."""

from collections.abc import Iterator
from contextlib import contextmanager

from ollmlx.errors import InOneLine, OllmlxError


class Shown(InOneLine, OllmlxError):
    """Ends a cell with its text alone."""


class Misused(Shown):
    """A magic was asked for something it cannot mean."""


class Failed(Shown):
    """The server refused, or broke off."""


class Interrupted(Shown):
    """The user stopped the cell; `Run All` must stop too, hence an error."""


class Raised(OllmlxError):
    """The user's own code ended with an exception, which is the cause of this one."""


@contextmanager
def theirs() -> Iterator[None]:
    """Around calls of the user's own code.  Raises `Raised` for whatever it does."""
    try:
        yield
    except Exception as error:  # it is not ours: it may raise anything
        raise Raised(f"{type(error).__name__}: {error}") from error
