"""Errors that a cell shows in one line: a traceback would be of our code, not of the user's."""

from ollmlx.errors import OllmlxError


class Shown(OllmlxError):
    """Ends a cell with its text alone."""

    def _render_traceback_(self) -> list[str]:  # IPython's hook for exceptions that draw themselves
        return [str(self)]


class Misused(Shown):
    """A magic was asked for something it cannot mean."""


class Failed(Shown):
    """The server refused, or broke off."""


class Interrupted(Shown):
    """The user stopped the cell; `Run All` must stop too, hence an error."""
