"""`list` and `ps`: the models that are installed, and those that are loaded."""

import json
from datetime import UTC, datetime

from ollmlx.cli import formats
from ollmlx.cli.connection import Connection, Document
from ollmlx.cli.flags import Words
from ollmlx.cli.tables import table
from ollmlx.cli.terminal import say


def list_models(words: Words, connection: Connection) -> None:
    show_models(connection, words.arguments, words.on("json"))


def show_models(connection: Connection, prefix: list[str], as_json: bool = False) -> None:
    """Those whose name begins with the first of `prefix`, in whatever case."""
    start = prefix[0].lower() if prefix else ""
    models = [m for m in installed(connection) if m["name"].lower().startswith(start)]
    if as_json:
        say_json({"models": models})
        return
    now = datetime.now(UTC)
    rows = [
        (
            model["name"],
            model.get("digest", "")[:12],
            "-" if model.get("remote_model") else formats.size(model.get("size", 0)),
            _modified(model, now),
        )
        for model in models
    ]
    say(table(rows, ("NAME", "ID", "SIZE", "MODIFIED")), end="")


def installed(connection: Connection) -> list[Document]:
    return list(connection.get("/api/tags").get("models") or [])


def list_running(words: Words, connection: Connection) -> None:
    start = words.arguments[0] if words.arguments else ""
    models = [m for m in running(connection) if m["name"].startswith(start)]
    if words.on("json"):
        say_json({"models": models})
        return
    now = datetime.now(UTC)
    rows = [
        (
            model["name"],
            model.get("digest", "")[:12],
            formats.size(model.get("size", 0)),
            processor(model.get("size", 0), model.get("size_vram", 0)),
            str(model.get("context_length", 0)),
            _until(model, now),
        )
        for model in models
    ]
    say(table(rows, ("NAME", "ID", "SIZE", "PROCESSOR", "CONTEXT", "UNTIL")), end="")


def running(connection: Connection) -> list[Document]:
    return list(connection.get("/api/ps").get("models") or [])


def processor(size: int, on_gpu: int) -> str:
    """Where a model of so many bytes lies: `100% GPU`, `48%/52% CPU/GPU`."""
    if on_gpu == 0:
        return "100% CPU"
    if on_gpu == size:
        return "100% GPU"
    if on_gpu > size:
        return "Unknown"
    share = int((size - on_gpu) / size * 100 + 0.5)
    return f"{share}%/{100 - share}% CPU/GPU"


def say_json(document: Document) -> None:
    say(json.dumps(document, indent=2, ensure_ascii=False))


def _modified(model: Document, now: datetime) -> str:
    if not (text := model.get("modified_at")):
        return "Never"
    return formats.relative(formats.moment(text), now)


def _until(model: Document, now: datetime) -> str:
    if not (text := model.get("expires_at")):
        return "Never"
    expires = formats.moment(text)
    return "Stopping..." if expires < now else formats.relative(expires, now)
