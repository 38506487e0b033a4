"""`show`: what a model is, in sections, or one of its texts."""

from collections.abc import Iterator
from typing import Any, TypeGuard

from ollmlx import names
from ollmlx.cli import formats
from ollmlx.cli.connection import Connection, Document
from ollmlx.cli.flags import Misused, Words
from ollmlx.cli.listing import say_json, source
from ollmlx.cli.tables import table, width
from ollmlx.cli.terminal import say
from ollmlx.errors import NotFound
from ollmlx.store.golang import quoted

_PARTS = ("license", "modelfile", "parameters", "system", "template")
_WIDE, _NARROW = 100, 30
_LIST_COLUMNS = 10
"""Room for the items of a list in the Metadata section."""
Rows = list[tuple[str, ...]]


def show(words: Words, connection: Connection) -> None:
    wanted = [part for part in _PARTS if words.on(part)]
    if len(wanted) > 1:
        raise Misused(
            "only one of '--license', '--modelfile', '--parameters', '--system', or '--template'"
            " can be specified"
        )
    verbose, name = words.on("verbose"), names.from_here(words.arguments[0])
    answer = connection.post("/api/show", {"model": name, "verbose": verbose})
    if words.on("source"):
        _show_source(connection, name, words.on("json"))
    elif words.on("json"):
        whole = {**answer, **source(connection, name)}
        say_json({part: answer.get(part, "") for part in wanted} or whole)
    elif wanted:
        ending = "" if wanted[0] in ("system", "template") else "\n"
        say(answer.get(wanted[0], ""), end=ending)
    else:
        say(overview(answer, verbose), end="")


def _show_source(connection: Connection, name: str, as_json: bool) -> None:
    """Raises `NotFound` when the server does not tell it."""
    lies = source(connection, name)
    if not lies:
        raise NotFound(f"the server does not tell where '{name}' lies")
    if as_json:
        say_json(lies)
    else:
        say(f"{lies['source']}: {lies['path']}")


def overview(answer: Document, verbose: bool = False) -> str:
    """An answer of /api/show as sections of tables."""
    text = ""
    for title, rows in _sections(answer, verbose):
        wrap = _WIDE if title in ("System", "License") else _NARROW
        text += f"  {title}\n{table([('', *row) for row in rows], wrap=wrap)}\n"
    return text


def _sections(answer: Document, verbose: bool) -> Iterator[tuple[str, Rows]]:
    info, details = answer.get("model_info") or {}, answer.get("details") or {}
    yield "Model", list(_model(answer, info, details))
    if capabilities := answer.get("capabilities"):
        yield "Capabilities", [(capability,) for capability in capabilities]
    if projector := answer.get("projector_info"):
        yield "Projector", list(_projector(projector))
    if parameters := answer.get("parameters"):
        yield "Parameters", [tuple(line.split()) for line in parameters.splitlines() if line]
    if info and verbose:
        yield "Metadata", [(key, _brief(info[key])) for key in sorted(info)]
    if (tensors := answer.get("tensors")) and verbose:
        yield "Tensors", [(t["name"], t["type"], plain(t["shape"])) for t in tensors]
    for title in ("System", "License"):
        if text := answer.get(title.lower()):
            yield title, _beginning(text)


def _model(answer: Document, info: Document, details: Document) -> Iterator[tuple[str, str]]:
    if host := answer.get("remote_host"):
        yield "Remote model", answer.get("remote_model", "")
        yield "Remote URL", host
    architecture = info.get("general.architecture") or ""
    if architecture or not info:
        yield "architecture", architecture or details.get("family", "")
    if size := details.get("parameter_size") or _count(info.get("general.parameter_count")):
        yield "parameters", size
    for key, title in (
        ("context_length", "context length"),
        ("embedding_length", "embedding length"),
    ):
        if _is_number(value := info.get(f"{architecture}.{key}")):
            yield title, _whole(value)
    yield "quantization", details.get("quantization_level", "")
    if version := answer.get("requires"):
        yield "requires", version


def _projector(info: Document) -> Iterator[tuple[str, str]]:
    architecture = info.get("general.architecture") or ""
    if architecture:
        yield "architecture", architecture
    if size := _count(info.get("general.parameter_count")):
        yield "parameters", size
    for key, title in (("embedding_length", "embedding length"), ("projection_dim", "dimensions")):
        for kind in ("vision", "audio"):
            if _is_number(value := info.get(f"{architecture}.{kind}.{key}")):
                yield title, _whole(value)
                break


def _brief(value: Any) -> str:
    """As many items of a list as fit, and how many more there are."""
    if not isinstance(value, list):
        return plain(value)
    used, shown = 1, 0
    for item in value:
        used += width(plain(item)) + (2 if shown else 0)
        if used > _LIST_COLUMNS and shown:
            break
        shown += 1
    if shown == len(value):
        return plain(value)
    return f"{plain(value[:shown])[:-1]} ...+{len(value) - shown} more]"


def plain(value: Any) -> str:
    """A value of JSON as Go's `%v` writes it."""
    if isinstance(value, list):
        return f"[{' '.join(map(plain, value))}]"
    return value if isinstance(value, str) else quoted(value)


def _beginning(text: str) -> Rows:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return [(line,) for line in (lines if len(lines) < 3 else [*lines[:2], "..."])]


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _count(value: Any) -> str:
    return formats.parameters(int(value)) if _is_number(value) else ""


def _whole(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else str(value)
