"""`list` and `ps`: the models that are installed, and those that are loaded."""

import json
from datetime import UTC, datetime

from ollmlx import names
from ollmlx.cli import formats
from ollmlx.cli.connection import Connection, Document, Refused
from ollmlx.cli.flags import Words
from ollmlx.cli.tables import table
from ollmlx.cli.terminal import say

_HEAD = ("NAME", "ID", "SIZE", "MODIFIED")


def list_models(words: Words, connection: Connection) -> None:
    models = _beginning(connection, words.arguments)
    if words.on("json") or words.on("source"):
        lie = sources(connection)
        models = [{**model, **lie.get(model["name"], {})} for model in models]
    if words.on("json"):
        say_json({"models": models})
    elif words.on("source"):
        rows = [(*row, m.get("source", "")) for row, m in zip(_rows(models), models, strict=True)]
        say(table(rows, (*_HEAD, "SOURCE")), end="")
    else:
        say(table(_rows(models), _HEAD), end="")


def show_models(connection: Connection, prefix: list[str]) -> None:
    say(table(_rows(_beginning(connection, prefix)), _HEAD), end="")


def _beginning(connection: Connection, prefix: list[str]) -> list[Document]:
    """Models whose name begins with the first of `prefix`, in whatever case."""
    start = prefix[0].lower() if prefix else ""
    return [m for m in installed(connection) if m["name"].lower().startswith(start)]


def _rows(models: list[Document]) -> list[tuple[str, ...]]:
    now = datetime.now(UTC)
    return [
        (
            model["name"],
            model.get("digest", "")[:12],
            "-" if model.get("remote_model") else formats.size(model.get("size", 0)),
            _modified(model, now),
        )
        for model in models
    ]


def installed(connection: Connection) -> list[Document]:
    return list(connection.get("/api/tags").get("models") or [])


def sources(connection: Connection) -> dict[str, Document]:
    """`source` and `path` of installed models by name; of none on a server that is not ours."""
    try:
        found = connection.get("/api/sources").get("models") or []
    except Refused as error:
        if not error.missing:
            raise
        return {}
    return {model["name"]: {key: model[key] for key in ("source", "path")} for model in found}


def source(connection: Connection, name: str) -> Document:
    """`source` and `path` of one model; empty where the server does not tell."""
    if names.as_path(name):
        return {"source": "path", "path": name}
    wanted = (name.lower(), f"{name}:{names.TAG}".lower())
    lie = sources(connection).items()
    return next((told for other, told in lie if other.lower() in wanted), {})


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
