"""`create`: a Modelfile and the files it names, sent to the server."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from ollmlx import names as model_names
from ollmlx.cli import components
from ollmlx.cli.components import Components, Digests
from ollmlx.cli.connection import Connection
from ollmlx.cli.flags import Misused, Words
from ollmlx.cli.progress import Progress, Spinner, Steps
from ollmlx.cli.terminal import say
from ollmlx.errors import BadRequest, InvalidName
from ollmlx.store.ollama import modelfile
from ollmlx.wire.native import CreateRequest


class NoModelfile(BadRequest):
    def __init__(self) -> None:
        super().__init__("specified Modelfile wasn't found")


def create(words: Words, connection: Connection) -> None:
    (name,) = words.arguments
    try:
        model_names.parse(name)
    except InvalidName as error:
        raise InvalidName(f"invalid model name: {name}") from error
    if words.on("experimental") and not connection.local:
        raise Misused("remote safetensor model creation not yet supported")
    commands, folder = _recipe(words.text("file"))
    with Progress() as progress:
        progress.add(gathering := Spinner("gathering model components"))
        found = components.gather(commands, folder)
        gathering.stopped = True
        request = _request(words, commands, found)
        for part in (found.files, found.adapters, found.drafts):
            _upload(connection, part, progress)
        with closing(connection.stream("/api/create", {**request, "model": name})) as frames:
            Steps(progress, "pulling").follow(frames)


def _recipe(file: str) -> tuple[list[modelfile.Command], Path]:
    """The commands of a Modelfile and the folder they are seen from; without one, `FROM .`."""
    path = Path(file or "Modelfile")
    try:
        return modelfile.parse(path.read_bytes()), path.parent
    except FileNotFoundError as error:
        if file:
            raise NoModelfile from error
        return modelfile.parse(b"FROM .\n"), Path()
    except OSError as error:
        raise BadRequest(f"open {path}: {error.strerror}") from error


def _request(words: Words, commands: list[modelfile.Command], found: Components) -> dict[str, Any]:
    """All but the model's name: what the Modelfile says and what the files are called."""
    request = CreateRequest(
        from_=found.base,
        quantize=words.text("quantize"),
        draft_quantize=words.text("draft-quantize"),
    )
    if request.draft_quantize and not found.drafts:
        raise Misused("--draft-quantize requires a DRAFT model")
    for parameter in modelfile.fill(request, commands):
        say(f"warning: parameter {parameter} is deprecated")
    request.files = _named(found.files)
    request.adapters = _named(found.adapters)
    request.draft_files = _named(found.drafts)
    fields: dict[str, Any] = msgspec.to_builtins(request)
    return {key: value for key, value in fields.items() if value}


def _named(digests: Digests) -> dict[str, str]:
    called = components.names(digests)
    return {called[file]: digest for file, digest in digests.items()}


def _upload(connection: Connection, digests: Digests, progress: Progress) -> None:
    for file, digest in digests.items():
        progress.add(spinner := Spinner(f"copying file {digest}"))
        if not connection.has(f"/api/blobs/{digest}"):
            connection.upload(f"/api/blobs/{digest}", _counted(file, spinner))
        spinner.percent, spinner.stopped = "100%", True


def _counted(file: Path, spinner: Spinner) -> Iterator[bytes]:
    sent, total = 0, file.stat().st_size
    for chunk in components.chunks(file):
        spinner.percent = f"{100 * sent // total}%"
        sent += len(chunk)
        yield chunk
