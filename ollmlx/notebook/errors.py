"""What ends a cell of the magics."""

from ollmlx.errors import InOneLine, OllmlxError


class Shown(InOneLine, OllmlxError):
    """Ends a cell with its text alone."""


class Misused(Shown):
    """A magic was asked for something it cannot mean."""


class Failed(Shown):
    """The server refused, or broke off."""


class Interrupted(Shown):
    """The user stopped the cell; `Run All` must stop too, hence an error."""
