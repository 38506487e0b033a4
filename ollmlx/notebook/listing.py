"""`%ollmlx list`, `ps`, `status`, `show`, `chats`, `help`: what there is."""

from argparse import Namespace
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from ollmlx.client import Client
from ollmlx.markdown import in_dollars, inert
from ollmlx.notebook import arguments
from ollmlx.notebook.errors import Misused
from ollmlx.notebook.saying import literal, say, table
from ollmlx.notebook.saying import show as display
from ollmlx.notebook.session import Message, Session
from ollmlx.notebook.variables import check_out

_INSTALLED = ("Model", "Format", "Parameters", "Quantisation", "Size")
_LOADED = ("Model", "Memory", "Context", "Stays until")


def installed(session: Session, given: Namespace) -> None:
    check_out(given.out)
    with Client() as client:
        models = [m for m in client.list().models if (m.model or "").startswith(given.prefix)]
    rows = [[model.model or "", *_details(model), size(model.size)] for model in models]
    display(table(_counted(rows), _INSTALLED, rows))
    _leave(session, given.out, models)


def loaded(session: Session, given: Namespace) -> None:
    check_out(given.out)
    with Client() as client:
        models = client.ps().models
    rows = _rows(models)
    display(table(f"{_counted(rows)} loaded", _LOADED, rows))
    _leave(session, given.out, models)


def status(session: Session, given: Namespace) -> None:
    with Client() as client:
        server, models = client.server, client.ps().models
    title = f"{server.place} (found by: {server.rule}), {len(models)} loaded"
    display(table(title, _LOADED, _rows(models)))


def show(session: Session, given: Namespace) -> None:
    check_out(given.out)
    with Client() as client:
        about = client.show(given.model)
    _leave(session, given.out, about)
    if given.modelfile:
        say(about.modelfile or "")
        return
    info, details = about.modelinfo or {}, about.details
    architecture = str(info.get("general.architecture", ""))
    facts: dict[str, Any] = {
        "architecture": architecture,
        "parameters": details and details.parameter_size,
        "context length": info.get(f"{architecture}.context_length"),
        "embedding length": info.get(f"{architecture}.embedding_length"),
        "quantisation": details and details.quantization_level,
        "capabilities": ", ".join(about.capabilities or []),
        "licence": (about.license or "").strip().partition("\n")[0],
    }
    rows = [[name, str(fact)] for name, fact in facts.items() if fact]
    display(table(given.model, ("", ""), rows))


def chats(session: Session, given: Namespace) -> None:
    check_out(given.out)
    if not given.name:
        rows = [[name, str(len(said))] for name, said in session.conversations.items()]
        title = f"{len(rows)} conversation{'' if len(rows) == 1 else 's'}"
        display(table(title, ("Conversation", "Messages"), rows))
        _leave(session, given.out, list(session.conversations))
        return
    said = session.conversations.get(given.name)
    if said is None:
        raise Misused(f"no conversation is called {given.name}; %ollmlx chats lists them")
    markdown = "\n\n".join(map(_as_markdown, said))
    plain = "\n\n".join(f"{message['role']}: {message['content']}" for message in said)
    display({"text/plain": plain, "text/markdown": markdown})
    _leave(session, given.out, markdown)


def help_about(session: Session, given: Namespace) -> None:
    if given.name:
        say(arguments.command_help(arguments.find(given.name)))
    else:
        say(arguments.cell_help())


def size(count: int | None) -> str:
    """Of bytes, as Ollama writes it: `98 MB`, `4.7 GB`."""
    number = float(count or 0)
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"


def until(moment: datetime | None) -> str:
    """When a model goes: a time of day, or `for ever`, for the API a date centuries ahead."""
    if moment is None or moment.year > datetime.now(UTC).year + 100:
        return "for ever"
    return moment.astimezone().strftime("%H:%M:%S")


def _rows(models: Sequence[Any]) -> list[list[str]]:
    return [
        [m.model or "", size(m.size), str(m.context_length or ""), until(m.expires_at)]
        for m in models
    ]


def _details(model: Any) -> list[str]:
    """Format, number of parameters, quantisation."""
    details = model.details
    names = ("format", "parameter_size", "quantization_level")
    kind, *others = [getattr(details, name, "") or "" for name in names]
    # The API calls MLX's models by what their weights lie in.
    return ["mlx" if kind == "safetensors" else kind, *others]


def _counted(rows: Sequence[Any]) -> str:
    return f"{len(rows)} model{'' if len(rows) == 1 else 's'}"


def _leave(session: Session, name: str | None, value: Any) -> None:
    if name:
        session.variables[name] = value


def _as_markdown(message: Message) -> str:
    """Who says it stands above; what is said is Markdown already."""
    calls = ", ".join(call["function"]["name"] for call in message.get("tool_calls", ()))
    who = f"{message['role']}, calls {calls}" if calls else message["role"]
    return f"**{literal(who)}**\n\n{in_dollars(inert(message['content']))}".rstrip()
