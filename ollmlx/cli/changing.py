"""`stop`, `cp` and `rm`."""

from fnmatch import fnmatchcase

from ollmlx.cli.connection import Connection, Document, Refused
from ollmlx.cli.flags import Misused, Words
from ollmlx.cli.listing import installed, running, source, sources
from ollmlx.cli.terminal import say, tell
from ollmlx.errors import NotFound, OllmlxError
from ollmlx.names import from_here

_WILD = frozenset("*?[")


def stop(words: Words, connection: Connection) -> None:
    every = words.on("all")
    if every and words.arguments:
        raise Misused("accepts a model or --all, not both")
    names = [m["name"] for m in running(connection)] if every else words.arguments
    for name in names:
        try:
            unload(connection, from_here(name))
        except Refused as error:
            if "not found" not in str(error):
                raise
            if not every:  # else it has ended meanwhile
                raise NotFound(f'couldn\'t find model "{name}" to stop') from error


def unload(connection: Connection, name: str) -> None:
    connection.post("/api/show", {"model": name})
    for _ in connection.stream("/api/generate", {"model": name, "keep_alive": 0}):
        pass


def copy(words: Words, connection: Connection) -> None:
    source, destination = words.arguments
    connection.post("/api/copy", {"source": source, "destination": destination})
    say(f"copied '{source}' to '{destination}'")


def remove(words: Words, connection: Connection) -> None:
    for name in matching(connection, words.arguments):
        try:
            unload(connection, name)
        except OllmlxError as error:
            if "not found" not in str(error).lower():
                tell(f"Warning: unable to stop model '{name}'")
        shared = source(connection, name).get("source") == "huggingface"
        connection.delete("/api/delete", {"model": name})
        say(f"deleted '{name}'")
        if shared:
            tell(f"'{name}' was in the Hugging Face cache: other programs have it no more either")


def matching(connection: Connection, patterns: list[str]) -> list[str]:
    """The installed models that a pattern such as `qwen*` means, and every other name as it is.

    Patterns mean no models that belong to other programs too.  Raises `NotFound` for a pattern that
    means none.
    """
    if not any(_WILD & set(pattern) for pattern in patterns):
        return patterns
    lie, found = sources(connection), list[str]()
    names = [m["name"] for m in installed(connection) if _is_ours(lie.get(m["name"], {}))]
    for pattern in patterns:
        if not _WILD & set(pattern):
            found.append(pattern)
            continue
        if not (meant := [name for name in names if _means(pattern, name)]):
            raise NotFound(f"no model matches '{pattern}'")
        found += meant
    return list(dict.fromkeys(found))


def _is_ours(lies: Document) -> bool:
    return lies.get("source", "ollama") in ("ollama", "ollmlx")


def _means(pattern: str, name: str) -> bool:
    """A pattern without a tag means the model under any tag: `qwen*` is `qwen*:*`."""
    given = pattern.rpartition("/")[2]
    return fnmatchcase(name, pattern) or (":" not in given and fnmatchcase(name, f"{pattern}:*"))
