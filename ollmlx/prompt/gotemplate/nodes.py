"""The parts of a Go template: what `parser` makes, `interpreter` runs and `analysis` searches.

`str` of an operand is its source, as Go's errors quote it.  `start` is an offset in the template,
in characters.
"""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Literal:
    """A string, number, bool or nil."""

    value: str | int | float | bool | None
    source: str
    start: int

    def __str__(self) -> str:
        return self.source


@dataclass(frozen=True, slots=True)
class Field:
    """`.` (no names), `.A`, `.A.B`."""

    names: tuple[str, ...]
    start: int

    def __str__(self) -> str:
        return "." + ".".join(self.names)


@dataclass(frozen=True, slots=True)
class Variable:
    """`$name.A.B`; the name keeps its `$`."""

    name: str
    names: tuple[str, ...]
    start: int

    def __str__(self) -> str:
        return ".".join((self.name, *self.names))


@dataclass(frozen=True, slots=True)
class Function:
    name: str
    start: int

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Chain:
    """`(pipeline).A.B`."""

    operand: "Operand"
    names: tuple[str, ...]
    start: int

    def __str__(self) -> str:
        return ".".join((str(self.operand), *self.names))


@dataclass(frozen=True, slots=True)
class Pipeline:
    commands: tuple[tuple["Operand", ...], ...]
    declared: tuple[str, ...]
    """Names of the variables it sets."""
    assigns: bool
    """`=` instead of `:=`."""
    start: int

    def __str__(self) -> str:
        body = " | ".join(" ".join(map(_quoted, command)) for command in self.commands)
        if not self.declared:
            return body
        return f"{', '.join(self.declared)} {'=' if self.assigns else ':='} {body}"


Operand = Literal | Field | Variable | Function | Chain | Pipeline


def _quoted(operand: Operand) -> str:
    return f"({operand})" if isinstance(operand, Pipeline) else str(operand)


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Action:
    pipeline: Pipeline


@dataclass(frozen=True, slots=True)
class Branch:
    """`if`, `with` or `range`."""

    keyword: str
    pipeline: Pipeline
    body: tuple["Node", ...]
    otherwise: tuple["Node", ...] | None


@dataclass(frozen=True, slots=True)
class Invoke:
    """`{{template "name" pipeline}}`, and what remains of a `block`."""

    name: str
    pipeline: Pipeline | None
    start: int

    def __str__(self) -> str:
        argument = f" {self.pipeline}" if self.pipeline else ""
        return f'{{{{template "{self.name}"{argument}}}}}'


@dataclass(frozen=True, slots=True)
class Jump:
    """`break` or `continue`."""

    keyword: str


Node = Text | Action | Branch | Invoke | Jump
Nodes = tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Program:
    """A template and the templates it defines, by name; its own name is empty."""

    source: str
    templates: dict[str, Nodes]

    @property
    def root(self) -> Nodes:
        return self.templates.get("", ())


def operands(pipeline: Pipeline | None) -> Iterator[Operand]:
    """Every operand of a pipeline, those in parentheses too, but for those of `(pipeline).A`."""
    for command in pipeline.commands if pipeline else ():
        for operand in command:
            yield operand
            if isinstance(operand, Pipeline):
                yield from operands(operand)
