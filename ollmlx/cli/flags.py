"""Command lines read as Ollama's are: flags anywhere, `--name=value`, `-f value`, `--` ends them.

The texts of the errors are those of the libraries that Ollama uses, cobra 1.7 and pflag 1.0.5.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ollmlx.errors import BadRequest

Value = str | bool | int
_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")


class Misused(BadRequest):
    """A command line that no command takes."""


@dataclass(frozen=True)
class Flag:
    name: str
    help: str
    kind: Literal["bool", "string", "int"] = "bool"
    letter: str = ""
    """Its one-letter form, without the dash."""
    bare: str = ""
    """What it means without `=value`; a flag that has none takes the next word."""

    @property
    def spelled(self) -> str:
        return f"-{self.letter}, --{self.name}" if self.letter else f"--{self.name}"

    @property
    def alone(self) -> str:
        return "true" if self.kind == "bool" else self.bare

    def read(self, text: str) -> Value:
        """Raises `Misused` with Go's text for a value of another kind."""
        if self.kind == "bool":
            if text in _TRUE or text in _FALSE:
                return text in _TRUE
            raise self._refuse("Bool", text)
        if self.kind == "int":
            try:
                number = int(text, 0)
            except ValueError:
                raise self._refuse("Int", text) from None
            if not -(2**63) <= number < 2**63:
                raise self._refuse("Int", text, "value out of range")
            return number
        return text

    def _refuse(self, parser: str, text: str, why: str = "invalid syntax") -> Misused:
        said = f'strconv.Parse{parser}: parsing "{text}": {why}'
        return Misused(f'invalid argument "{text}" for "{self.spelled}" flag: {said}')


HELP = Flag("help", "", letter="h")


@dataclass(frozen=True)
class Words:
    """A command's words, read: its arguments, and the flags that were given."""

    arguments: list[str]
    given: Mapping[str, Value]

    def on(self, name: str) -> bool:
        return bool(self.given.get(name, False))

    def text(self, name: str) -> str:
        return str(self.given.get(name, ""))

    def number(self, name: str) -> int:
        return int(self.given.get(name, 0))


def read(words: list[str], flags: tuple[Flag, ...]) -> Words:
    """Raises `Misused`."""
    long = {flag.name: flag for flag in (*flags, HELP)}
    short = {flag.letter: flag for flag in long.values() if flag.letter}
    arguments: list[str] = []
    given: dict[str, Value] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            arguments += rest
            break
        if word.startswith("--"):
            _long(word, rest, long, given)
        elif word.startswith("-") and word != "-":
            _short(word, rest, short, given)
        else:
            arguments.append(word)
    return Words(arguments, given)


def _long(word: str, rest: list[str], flags: dict[str, Flag], given: dict[str, Value]) -> None:
    name, equals, value = word[2:].partition("=")
    if not name or name.startswith("-"):
        raise Misused(f"bad flag syntax: {word}")
    if not (flag := flags.get(name)):
        raise Misused(f"unknown flag: --{name}")
    if not equals:
        value = flag.alone or _next(rest, f"flag needs an argument: --{name}")
    given[name] = flag.read(value)


def _short(word: str, rest: list[str], flags: dict[str, Flag], given: dict[str, Value]) -> None:
    """Letters may stand together: `-vh`, `-fModelfile`, `-f=Modelfile`."""
    letters = word[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        if not (flag := flags.get(letter)):
            raise Misused(f"unknown shorthand flag: '{letter}' in {word}")
        if letters.startswith("="):
            value, letters = letters[1:], ""
        elif flag.alone:
            value = flag.alone
        elif letters:
            value, letters = letters, ""
        else:
            value = _next(rest, f"flag needs an argument: '{letter}' in {word}")
        given[flag.name] = flag.read(value)


def _next(rest: list[str], missing: str) -> str:
    if not rest:
        raise Misused(missing)
    return rest.pop(0)
