"""The words that `%ollmlx` and `%%ollmlx` take: for reading, for help and for completion."""

import argparse
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from ollmlx.names import from_here
from ollmlx.notebook.errors import Misused


@dataclass(frozen=True)
class Argument:
    names: tuple[str, ...]
    help: str
    completes: str = ""
    """What its value is: `model`, `variable`, `shape`, …, or nothing that could be listed."""
    how: Mapping[str, Any] = field(default_factory=dict)
    """For argparse."""

    @property
    def flag(self) -> bool:
        return self.names[0].startswith("-")


def _one(*names: str, help: str, completes: str = "", **how: Any) -> Argument:
    return Argument(names, help, completes, how)


BITS = ("q4_0", "q4_K_M", "q5_K_M", "q6_K", "q8_0", "int4", "int8", "mxfp4", "mixed_4_6")
THINKING = ("true", "false", "low", "medium", "high", "max")

MODEL = _one("model", help="an installed model", completes="model")
OUT = _one("--out", metavar="NAME", help="variable for the result", completes="variable")

CELL = (
    _one("model", nargs="?", help="model, for example smollm2:135m", completes="model"),
    _one(
        *("-m", "--model"),
        dest="named",
        metavar="MODEL",
        help="the same, as an option",
        completes="model",
    ),
    _one("-s", "--system", help="system message of the conversation"),
    _one("-t", "--temperature", type=float, help="0 is the likeliest text, 1 is lively"),
    _one("--seed", type=int, help="the same seed gives the same text"),
    _one("--num-predict", type=int, metavar="N", help="at most this many tokens"),
    _one(
        *("-o", "--option"),
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any other option",
    ),
    _one(
        "--format",
        metavar="json|NAME|FILE",
        help="JSON, or the type or JSON Schema in a variable or file",
        completes="shape",
    ),
    _one(
        "--think",
        choices=THINKING,
        metavar="LEVEL",
        help=f"{', '.join(THINKING)} (true)",
        completes="level",
    ),
    _one("--keep-alive", metavar="TIME", help="how long the model stays loaded: 10m, 0, -1"),
    _one(
        "--image",
        action="append",
        default=[],
        metavar="NAME|FILE",
        help="an image: PIL, NumPy, matplotlib, bytes, file or address; may be repeated",
        completes="variable",
    ),
    _one(
        "--tools",
        default="",
        metavar="F,G",
        help="functions of the notebook that the model may call",
        completes="variable",
    ),
    _one("--rounds", type=int, default=5, metavar="N", help="answers that may call functions (5)"),
    _one(
        "--out",
        metavar="NAME",
        help="variable for the answer: its text, or its value with --format",
        completes="variable",
    ),
    _one("--chat", metavar="NAME", help="conversation to go on with (one for each model)"),
    _one("-n", "--new", action="store_true", help="forget the conversation so far"),
    _one("--raw", action="store_true", help="leave braces alone"),
)


@dataclass(frozen=True)
class Command:
    """One of `%ollmlx`."""

    name: str
    help: str
    does: str
    """`module:function` beside this module, imported when it is called for."""
    arguments: tuple[Argument, ...] = ()


COMMANDS = (
    Command(
        *("list", "the models that are there", "listing:installed"),
        (_one("prefix", nargs="?", default="", help="only names that begin so"), OUT),
    ),
    Command("ps", "the models that are loaded", "listing:loaded", (OUT,)),
    Command("status", "which server answers, and what it has loaded", "listing:status"),
    Command(
        *("show", "what a model is", "listing:show"),
        (MODEL, _one("--modelfile", action="store_true", help="as a Modelfile"), OUT),
    ),
    Command(
        *("pull", "fetch models; interrupt stops, the same again goes on", "changing:pull"),
        (
            _one("models", nargs="+", metavar="model", help="models of a registry"),
            _one("--insecure", action="store_true", help="allow a registry without TLS"),
        ),
    ),
    Command(
        *("rm", "delete models", "changing:remove"),
        (_one("models", nargs="+", metavar="model", help="installed models", completes="model"),),
    ),
    Command(
        *("load", "load a model before it is needed", "changing:load"),
        (MODEL, _one("--keep-alive", metavar="TIME", help="how long it stays: 10m, 0, -1")),
    ),
    Command(
        *("stop", "free the memory of one model, or of all", "changing:stop"),
        (_one("model", nargs="?", default="", help="a loaded model", completes="model"),),
    ),
    Command("use", "the model for cells that name none", "changing:use", (MODEL,)),
    Command(
        *("convert", "make an MLX model of a GGUF one, or a .gguf file", "programs:convert"),
        (
            _one("source", metavar="model", help="an installed model", completes="model"),
            _one("target", nargs="?", help="name of the new one"),
            _one("--dtype", help="float16, bfloat16, float32 of what is not quantised"),
            _one("--replace", action="store_true", help="take the place of what is there"),
        ),
    ),
    Command(
        *("quantize", "make a smaller model of one", "changing:quantize"),
        (
            MODEL,
            _one("level", help="for example q4_K_M, or int4 for MLX models", completes="bits"),
            _one("target", nargs="?", help="name of the new one (MODEL-LEVEL)"),
        ),
    ),
    Command(
        *("compare", "one question to several models, side by side", "measuring:compare"),
        (
            _one("models", nargs="+", metavar="model", help="two or more", completes="model"),
            _one("-p", "--prompt", required=True, help="the question"),
            _one("-t", "--temperature", type=float, default=0.0, help="0, the likeliest text"),
            _one("--num-predict", type=int, default=64, metavar="N", help="tokens at most (64)"),
            OUT,
        ),
    ),
    Command(
        *("bench", "tokens a second, alone and several at once", "measuring:bench"),
        (
            _one("models", nargs="+", metavar="model", help="models", completes="model"),
            _one("--streams", default="1,4", metavar="N,N", help="answers at once (1,4)"),
            _one("--tokens", type=int, default=32, metavar="N", help="tokens of each (32)"),
            OUT,
        ),
    ),
    Command(
        *("chats", "the conversations, or one of them as Markdown", "listing:chats"),
        (_one("name", nargs="?", default="", help="a conversation"), OUT),
    ),
    Command(
        *("reset", "forget one conversation, or all", "changing:reset"),
        (_one("name", nargs="?", default="", help="a conversation, or its model"),),
    ),
    Command(
        *("serve", "start a server for this kernel, where none answers", "programs:serve"),
        (
            _one("--port", type=int, default=0, metavar="N", help="port (a free one)"),
            _one("--stop", action="store_true", help="end the one that was started"),
        ),
    ),
    Command(
        *("help", "this, or what a command takes", "listing:help_about"),
        (_one("name", nargs="?", default="", help="a command"),),
    ),
)

_ABOUT = """\
Cells that name the same model, or the same --chat, are one conversation.  {name} in a cell is the
value of a Python expression, {{name}} the text {name}; a brace that no name follows stays as it is.
The answer is left in _ollmlx.  Options of a %%ollmlx cell:"""


class _Parser(argparse.ArgumentParser):
    """Refuses in our words, and never ends the interpreter."""

    def error(self, message: str) -> NoReturn:
        raise Misused(f"{self.prog}: {message}; {self.prog} --help tells more")


def read_cell(words: list[str]) -> argparse.Namespace:
    """Raises `Misused`."""
    return _cell_parser().parse_args(_with_level(words))


def _with_level(words: list[str]) -> list[str]:
    """`--think` without a level is `--think true`: what is behind it may be the model."""
    return [
        f"{word}=true" if word == "--think" and after not in THINKING else word
        for word, after in zip(words, [*words[1:], ""], strict=False)
    ]


def read_command(command: Command, words: list[str]) -> argparse.Namespace:
    """Raises `Misused`."""
    return _command_parser(command).parse_args(words)


def find(name: str) -> Command:
    """Raises `Misused`."""
    for command in COMMANDS:
        if command.name == name:
            return command
    raise Misused(
        f"%ollmlx knows {', '.join(command.name for command in COMMANDS)}, not {name!r}; "
        "%ollmlx help tells more, and %%ollmlx asks a model what is below it"
    )


def split(line: str) -> list[str]:
    """Words as a shell reads them.  Raises `Misused`."""
    try:
        return shlex.split(line)
    except ValueError as error:
        raise Misused(f"{error}: {line}") from error


def cell_help() -> str:
    return _cell_parser().format_help()


def command_help(command: Command) -> str:
    return _command_parser(command).format_help()


def overview() -> str:
    """All of it: the commands, then the options of a cell."""
    width = max(len(command.name) for command in COMMANDS)
    lines = [f"%ollmlx {command.name:<{width}}  {command.help}" for command in COMMANDS]
    return "\n".join([*lines, "", "%ollmlx COMMAND --help tells what a command takes.", "", ""])


def _cell_parser() -> _Parser:
    return _parser("%%ollmlx", overview() + _ABOUT, CELL)


def _command_parser(command: Command) -> _Parser:
    return _parser(f"%ollmlx {command.name}", command.help, command.arguments)


def _parser(name: str, about: str, arguments: Iterable[Argument]) -> _Parser:
    made = _Parser(name, description=about, add_help=False, allow_abbrev=False)
    made.formatter_class = argparse.RawDescriptionHelpFormatter
    for argument in arguments:
        how = {"type": from_here, **argument.how} if argument.completes == "model" else argument.how
        made.add_argument(*argument.names, help=argument.help, **how)
    return made
