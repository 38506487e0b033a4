"""`pull`, `push` and `update`: models between the server and registries."""

from contextlib import closing

from ollmlx import names
from ollmlx.cli.account import account
from ollmlx.cli.connection import Connection
from ollmlx.cli.flags import Misused, Words
from ollmlx.cli.listing import installed, sources
from ollmlx.cli.progress import Progress, Steps
from ollmlx.cli.terminal import say, tell
from ollmlx.errors import OllmlxError

_ABSENT = "pull model manifest: file does not exist"
_FETCHED = ("ollama", "huggingface")
"""Sources to pull from again: the embedded model, say, is not the one of its name in a registry."""
_OLLAMAS = (".ollama.ai", ".ollama.com")


class NotUpdated(OllmlxError):
    """Some of the models could not be pulled again."""


class NotAuthorized(OllmlxError):
    """The registry lets us not write there."""

    def __init__(self) -> None:
        super().__init__(
            "you are not authorized to push to this namespace, "
            "create the model under a namespace you own"
        )


def pull(words: Words, connection: Connection) -> None:
    for name in words.arguments:
        pull_model(connection, name, words.on("insecure"))


def pull_model(connection: Connection, name: str, insecure: bool) -> None:
    request = {"model": name, "insecure": insecure}
    with closing(connection.stream("/api/pull", request)) as frames, Progress() as progress:
        Steps(progress, "pulling", from_start=False).follow(frames)


def update(words: Words, connection: Connection) -> None:
    if words.on("all") and words.arguments:
        raise Misused("accepts models or --all, not both")
    failed = []
    for name in words.arguments or _fetched(connection):
        tell(f"updating {name}")
        try:
            pull_model(connection, name, words.on("insecure"))
        except OllmlxError as error:
            if not words.on("all"):
                raise
            # Models made on this machine are in no registry.
            absent = _ABSENT in str(error)
            tell(f"'{name}' is left as it is: {'it is in no registry' if absent else error}")
            failed += [] if absent else [name]
    if failed:
        raise NotUpdated(f"not updated: {', '.join(failed)}")


def _fetched(connection: Connection) -> list[str]:
    """Models that somebody pulled, as far as the server tells which those are."""
    lie = sources(connection)
    names = [model["name"] for model in installed(connection)]
    return [name for name in names if lie.get(name, {}).get("source", "ollama") in _FETCHED]


def push(words: Words, connection: Connection) -> None:
    name = names.parse(words.arguments[0])
    otherwise = "You need to be signed in to push models to ollama.com."
    if name.host.endswith(_OLLAMAS) and account(connection, otherwise) is None:
        return
    request = {"model": words.arguments[0], "insecure": words.on("insecure")}
    try:
        with closing(connection.stream("/api/push", request)) as frames, Progress() as progress:
            Steps(progress, "pushing").follow(frames)
    except OllmlxError as error:
        if any(text in str(error).lower() for text in ("access denied", "unauthorized")):
            raise NotAuthorized from error
        raise
    place = name.full
    if name.host.endswith(_OLLAMAS):
        place = f"https://ollama.com/{name.display.removesuffix(':latest')}"
    say(f"\nYou can find your model at:\n\n\t{place}")
