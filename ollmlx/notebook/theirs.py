"""The user's own code, where ours calls it."""

from collections.abc import Iterator
from contextlib import contextmanager

from ollmlx.errors import OllmlxError


class Raised(OllmlxError):
    """It ended with an exception, which is the cause of this one."""


@contextmanager
def theirs() -> Iterator[None]:
    """Raises `Raised` for whatever the block does."""
    try:
        yield
    except Exception as error:  # it is not ours: it may raise anything
        raise Raised(f"{type(error).__name__}: {error}") from error
