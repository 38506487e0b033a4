"""A Jinja environment that a hostile template cannot use to fill the memory or run for ever.

Jinja's sandbox lets a template touch nothing but its data.  Here every look-up, call, filter, test
and turn of a loop is a step, what is made costs steps by its size, and a rendering has only so many
steps and seconds.  Filters and methods that no chat template uses are not there.  What stays
possible is to compare lists that hold one another thousands of times.
"""

import re
import time
from collections.abc import Callable, Iterable, Mapping, MappingView
from string import Formatter
from typing import Any

from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

MOST_STEPS = 2_000_000
"""A chat of 1,000 messages takes about 30,000."""

MOST_SECONDS = 3.0

LONGEST = 32 * 1024 * 1024
"""Characters of any text, or items of any list."""

WIDEST = 1_000
"""Columns that a template may ask of a text's method or filter."""

_MOST_BITS = 1 << 16
_UNUSED_METHODS = frozenset(
    ("center", "encode", "expandtabs", "format_map", "ljust", "rjust", "translate", "zfill")
)
_UNUSED_FILTERS = (
    *("attr", "batch", "center", "filesizeformat", "forceescape", "groupby", "pprint", "random"),
    *("round", "slice", "striptags", "sum", "truncate", "urlencode", "urlize", "wordcount"),
    *("wordwrap", "xmlattr"),
)
_WRITING = (
    *("capitalize", "e", "escape", "format", "indent", "join", "lower", "replace", "safe"),
    *("string", "title", "tojson", "trim", "upper", ".format", ".join", ".replace"),
)
"""Filters, and methods with a dot, that make a text of whatever they are given."""
_COLUMNS = re.compile(r"%(?:\([^)]*\))?[-#0 +]*([\d.*]*)")
_WIDE = re.compile(r"\d{4}|[*{]")


class TooMuch(SecurityError):
    """The template asks for more than a chat can need."""


class _CountedConcat(CodeGenerator):
    """Compiles `a ~ b` into a call of the environment, which measures it first."""

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802 - Jinja's name
        self.write("environment.joined((")
        for operand in node.nodes:
            self.visit(operand, frame)
            self.write(", ")
        self.write("))")


class Bounded(ImmutableSandboxedEnvironment):
    """A sandbox that counts; `reset` it before each rendering."""

    intercepted_binops = frozenset({"*", "**", "%", "+"})
    code_generator_class = _CountedConcat

    def __init__(self, filters: Mapping[str, Callable[..., Any]], **options: Any) -> None:
        super().__init__(**options, finalize=_shown)
        self.reset()
        self.globals["range"] = self._range
        del self.globals["lipsum"]
        self.filters.update(filters)
        for name in _UNUSED_FILTERS:
            del self.filters[name]
        self.filters = {name: self._counted(name, made) for name, made in self.filters.items()}

    def reset(self) -> None:
        self._steps, self._end = 0, time.monotonic() + MOST_SECONDS

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        """Each turn of a loop, and each item that its condition passes over, is a step."""
        template = super()._parse(source, name, filename)
        for loop in template.find_all(nodes.For):
            turn = nodes.EnvironmentAttribute("turn")
            loop.body.insert(0, nodes.ExprStmt(turn).set_lineno(loop.lineno))
            if loop.test is not None:
                loop.test = nodes.And(turn, loop.test).set_lineno(loop.lineno)
        return template

    @property
    def turn(self) -> bool:
        """Looked up, and so counted, by every loop."""
        self._charge(1)
        return True

    def _charge(self, steps: int) -> None:
        self._steps += steps
        if self._steps > MOST_STEPS or time.monotonic() > self._end:
            raise TooMuch("the template takes too many steps")

    def _charged(self, made: Any) -> Any:
        """What a step has made."""
        if isinstance(made, str):
            check_length(len(made))
            self._charge(1 + len(made) // 128)
        else:
            self._charge(1 + (len(made) // 32 if isinstance(made, list | tuple | dict) else 0))
        return made

    def _range(self, *bounds: int) -> range:
        numbers = range(*bounds)
        self._charge(len(numbers))
        return numbers

    def joined(self, operands: tuple[Any, ...]) -> str:
        """`a ~ b ~ …`."""
        check_weight(operands)
        made: str = self._charged("".join(map(str, operands)))
        return made

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if isinstance(obj, str) and attr in _UNUSED_METHODS:
            return False
        # Kimi K2's template keeps a queue, though transformers refuses it; each call is counted.
        queues = isinstance(obj, list) and attr in ("append", "pop")
        return queues or super().is_safe_attribute(obj, attr, value)

    def getattr(self, obj: Any, attribute: str) -> Any:
        self._charge(1)
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        return self._charged(super().getitem(obj, argument))

    def call(self, context: Any, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        # The sandbox wraps `str.format`.
        owner = getattr(getattr(obj, "__wrapped__", obj), "__self__", None)
        if isinstance(owner, str):
            _check_writing(f".{obj.__name__}", owner, [*args, *kwargs.values()])
        return self._charged(super().call(context, obj, *args, **kwargs))

    def call_test(self, name: str, *args: Any, **kwargs: Any) -> Any:
        self._charge(1)
        return super().call_test(name, *args, **kwargs)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        _check_operands(operator, left, right)
        return self._charged(super().call_binop(context, operator, left, right))

    def _counted(self, name: str, filter_: Callable[..., Any]) -> Callable[..., Any]:
        """The filter, behind the checks that methods of texts have."""

        def counted(*args: Any, **kwargs: Any) -> Any:
            passed = args[: hasattr(filter_, "jinja_pass_arg")]
            owner, *given = args[len(passed) :]
            if name == "join" and not isinstance(owner, str):
                owner = list(owner)
            _check_writing(name, owner, [*given, *kwargs.values()])
            return self._charged(filter_(*passed, owner, *given, **kwargs))

        # Jinja asks a filter by this attribute whether it wants the context or the environment.
        counted.__dict__.update(getattr(filter_, "__dict__", {}))
        return counted


def check_length(length: int) -> None:
    """Raises TooMuch for a text that would be too long."""
    if length > LONGEST:
        raise TooMuch("the template makes too long a text")


def check_weight(value: Any) -> None:
    """Raises TooMuch for a value whose text would be too long."""
    check_length(_weight(value, LONGEST))


def _weight(value: Any, room: int) -> int:
    """A lower bound of the length of a value's text, counted until it is over `room`.

    A list that stands in another one a thousand times counts as often, for so it does in the text.
    """
    if isinstance(value, str):
        return len(value)
    if isinstance(value, MappingView | Namespace):
        return room + 1  # not to be looked through, nor ever to be written
    total = 0
    for part in _parts(value):
        total += 3  # a comma, a blank and at least one more
        if isinstance(part, str):
            total += len(part)
        elif part is not None and not isinstance(part, int):
            total += _weight(part, room - total)
        if total > room:
            break
    return total


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return [*value, *value.values()]
    return value if isinstance(value, list | tuple) else ()


def _shown(value: Any) -> Any:
    """What a template writes."""
    if not isinstance(value, str):
        check_weight(value)
    return value


def _check_writing(name: str, owner: Any, arguments: list[Any]) -> None:
    """Raises TooMuch where a method or filter would make a very long text of its arguments."""
    if name in _WRITING:
        check_weight([owner, *arguments])
    texts = [argument for argument in arguments if isinstance(argument, str)]
    match name.removeprefix("."):
        case "replace" if len(texts) > 1:
            check_length(str(owner).count(texts[0]) * len(texts[1]))
        case "join" | "indent" | "tojson":
            check_length(_weight(owner, LONGEST) * max(map(_width, arguments), default=0))
        case "int" if isinstance(owner, str):
            check_length(len(owner) * WIDEST)
        case "format" if name == "format":
            _check_columns(_COLUMNS.findall(str(owner)))
        case "format":
            _check_columns(spec or "" for _, _, spec, _ in Formatter().parse(owner))


def _width(value: Any) -> int:
    """How often an argument may make a text longer than it was."""
    return value if isinstance(value, int) else _weight(value, LONGEST)


def _check_columns(layouts: Iterable[str]) -> None:
    """Raises TooMuch where a layout asks for wide columns, as `%1000000000d` and `%*d` may do."""
    if any(_WIDE.search(layout) for layout in layouts):
        raise TooMuch(f"a template may ask for {WIDEST} columns")


def _check_operands(operator: str, left: Any, right: Any) -> None:
    """Raises TooMuch where an operator would make a very long text or number."""
    if isinstance(left, int) and isinstance(right, int):
        bits, more = left.bit_length(), right.bit_length()
        if (operator == "*" and bits + more > _MOST_BITS) or (
            operator == "**" and bits * right > _MOST_BITS
        ):
            raise TooMuch("the template makes too large a number")
    elif operator == "*":
        count, other = (left, right) if isinstance(left, int) else (right, left)
        check_length(len(other) * count if isinstance(count, int) and _sequence(other) else 0)
    elif operator == "%" and isinstance(left, str):
        _check_writing("format", left, [right])
    elif operator == "+" and _sequence(left) and _sequence(right):
        check_length(len(left) + len(right))


def _sequence(value: Any) -> bool:
    return isinstance(value, str | list | tuple)
