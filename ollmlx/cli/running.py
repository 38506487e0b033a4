"""`run`: one answer to a prompt, an embedding, or a conversation."""

import sys
from dataclasses import dataclass, field
from typing import Any

from ollmlx import names
from ollmlx.cli import media
from ollmlx.cli.answering import Style, stream, summarise
from ollmlx.cli.connection import Connection, Document, Refused
from ollmlx.cli.flags import Misused, Words
from ollmlx.cli.progress import Progress, Spinner
from ollmlx.cli.terminal import conversing, program, say
from ollmlx.cli.transfers import pull_model
from ollmlx.errors import BadRequest
from ollmlx.settings import parse_duration
from ollmlx.wire import decode

_LEVELS = ("high", "medium", "low", "max")


class NoText(BadRequest):
    """An embedding model was given nothing to embed."""


@dataclass
class Session:
    """Which model answers, and how."""

    model: str
    format: str = ""
    """`json`, or the text of a JSON Schema."""
    think: bool | str | None = None
    think_chosen: bool = False
    """Whether the user said so; else the model's abilities decide."""
    keep_alive: str = ""
    """A Go duration; empty leaves it to the server."""
    multimodal: bool = False
    parent: str = ""
    style: Style = field(default_factory=Style)

    def request(self, **fields: Any) -> Document:
        """What all requests have in common, with what one has of its own."""
        common = {"format": formatted(self.format), "think": self.think}
        if self.keep_alive:
            common["keep_alive"] = self.keep_alive
        told = {key: value for key, value in common.items() if value is not None}
        return {"model": self.model, **told, **fields}

    def learn(self, about: Document) -> None:
        """Take over what /api/show says of the model."""
        abilities = about.get("capabilities") or []
        sees = any(".vision." in key for key in about.get("model_info") or {})
        hears = bool({"vision", "audio"} & set(abilities))
        self.multimodal = sees or hears or bool(about.get("projector_info"))
        self.parent = (about.get("details") or {}).get("parent_model", "")
        if not self.think_chosen:
            self.think = True if "thinking" in abilities else None


def run(words: Words, connection: Connection) -> None:
    session = Session(
        names.from_here(words.arguments[0]),
        words.text("format"),
        _think(words),
        "think" in words.given,
        words.text("keepalive"),
        style=Style(not words.on("nowordwrap"), not words.on("hidethinking"), words.on("verbose")),
    )
    if session.keep_alive:
        parse_duration(session.keep_alive)
    prompts = words.arguments[1:]
    if not sys.stdin.isatty() and (piped := sys.stdin.read()):
        prompts = [piped, *prompts]
    about = show_or_pull(connection, session.model, words.on("insecure"))
    session.learn(about)
    if "embedding" in (about.get("capabilities") or []):
        _embed(connection, session, words, " ".join(prompts))
    elif conversing() and not prompts:
        from ollmlx.cli.repl import converse  # only now: its library is large

        load(connection, session)
        converse(connection, session, about.get("messages") or [])
    else:
        _generate(connection, session, " ".join(prompts))


def show_or_pull(connection: Connection, name: str, insecure: bool) -> Document:
    try:
        return connection.post("/api/show", {"model": name})
    except Refused as error:
        if not error.missing or names.as_path(name):
            raise
    pull_model(connection, name, insecure)
    return connection.post("/api/show", {"model": name})


def load(connection: Connection, session: Session) -> None:
    """Load the model before anything is asked; it may refuse to think, say."""
    request = session.request()
    request.pop("format", None)
    with Progress() as waiting:
        waiting.add(Spinner())
        try:
            for _ in connection.stream("/api/generate", request):
                pass
        finally:
            waiting.clear()


def formatted(text: str) -> Any:
    """`format` as the API takes it.  Raises `BadRequest` with Go's text."""
    if text in ("", "json"):
        return text or None
    try:
        return decode.parse(text)
    except BadRequest as error:
        told = f"json: error calling MarshalJSON for type json.RawMessage: {error}"
        raise BadRequest(told) from error


def _think(words: Words) -> bool | str | None:
    if "think" not in words.given:
        return None
    given = words.text("think")
    if given in ("", "true", "false"):
        return given != "false"
    if given not in _LEVELS:
        accepted = "must be true, false, high, medium, low, or max"
        raise Misused(f'invalid value for --think: "{given}" ({accepted})')
    return given


def _generate(connection: Connection, session: Session, prompt: str) -> None:
    images: list[str] = []
    if session.multimodal:
        prompt, images = media.extract(prompt)
    request = session.request(prompt=prompt, images=images)
    answer = stream(connection, "/api/generate", request, session.style)
    if answer is None:  # the user stopped it
        return
    if prompt:
        say("\n")
    if session.style.verbose and answer.last.get("done"):
        summarise(answer.last)


def _embed(connection: Connection, session: Session, words: Words, text: str) -> None:
    if not text:
        raise NoText(
            "embedding models require input text. "
            f'Usage: {program()} run {session.model} "your text here"'
        )
    request: Document = {"model": session.model, "input": text}
    if session.keep_alive:
        request["keep_alive"] = session.keep_alive
    if "truncate" in words.given:
        request["truncate"] = words.on("truncate")
    if (dimensions := words.number("dimensions")) > 0:
        request["dimensions"] = dimensions
    say(connection.embedding(request))
