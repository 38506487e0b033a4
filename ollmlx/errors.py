"""What can go wrong, and the HTTP status of each: the only place where the two stand together.

OllmlxError (500)
 ├ BadRequest (400)          ├ NotFound (404)        ├ Busy (503)
 ├ Forbidden (403)           ├ Cancelled (499)       ├ WorkerDied (500)
 ├ LoadFailed (500)          ├ NotSignedIn (401)     ├ AccountUnavailable (503)
 ├ Unavailable (500): the engine for a format is not installed
 └ LoadStopped (499)
"""

import json


class OllmlxError(Exception):
    """Anything ollmlx refuses or fails to do; `str` of it is the text a client sees."""

    status = 500
    in_stream = False
    """Raised where Ollama streams already: before the first frame it labels such errors less."""


class InOneLine:
    """Errors that a cell shows by their text alone, as their traceback would be of our code."""

    def _render_traceback_(self) -> list[str]:  # IPython's hook for exceptions that draw themselves
        return [str(self)]


class BadRequest(OllmlxError):
    """The request is wrong and would be wrong again."""

    status = 400


class Malformed(BadRequest):
    """The body could not be read as a request at all."""


class Mismatch(Malformed):
    """A value that is not what its field holds.  The rest is read on, and may hold worse."""


class Unreadable(Malformed):
    """The body's compression could not be undone, so that there is nothing to read."""


class InvalidName(BadRequest):
    """A model name that no model can have; `name` is all of it, as far as it goes."""

    def __init__(self, message: str = "invalid model name", name: str = "") -> None:
        super().__init__(message)
        self.name = name


class Forbidden(OllmlxError):
    status = 403


class NotFound(OllmlxError):
    """No such model."""

    status = 404


class Cancelled(OllmlxError):
    """The client left before the answer began."""

    status = 499

    def __init__(self) -> None:
        super().__init__("request canceled")


class Busy(OllmlxError):
    """The queue of requests that wait for a model to load is full."""

    status = 503

    def __init__(self) -> None:
        # Two spaces: Ollama's text, which clients match on.
        super().__init__("server busy, please try again.  maximum pending requests exceeded")


class WorkerDied(OllmlxError):
    """A model's process ended while it owed an answer."""


class LoadFailed(OllmlxError):
    """A model could not be loaded."""


class LoadStopped(OllmlxError):
    """Somebody ended the load that this request waited for."""

    status = 499

    def __init__(self) -> None:
        super().__init__("the load was stopped")


class Unavailable(OllmlxError):
    """The library that runs this kind of model is not installed."""


class NotSignedIn(OllmlxError):
    """ollama.com knows no account with the user's key."""

    status = 401


class AccountUnavailable(OllmlxError):
    """ollama.com cannot be asked, or answers something else."""

    status = 503

    def __init__(self) -> None:
        super().__init__("account unavailable")


_STATUSES: dict[int, type[OllmlxError]] = {
    error.status: error for error in (BadRequest, Forbidden, NotFound, OllmlxError)
}


def with_status(status: int, message: str) -> OllmlxError:
    """The error for a status that came over a pipe."""
    return _STATUSES.get(status, OllmlxError)(message)


def unwrapped(text: str) -> str:
    """The message of an error that came as JSON, as engines word theirs; any other as it is.

    A page in its place is a proxy's, or a Jupyter server's whose address has been cut short.
    """
    if text.lstrip().lower().startswith(("<!doctype", "<html")):
        return "a web page answers there, and no API; a Jupyter server has it below /ollama"
    try:
        return str(json.loads(text)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return text
