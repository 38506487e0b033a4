"""A Jinja environment that a hostile template cannot use to fill the memory or run for ever.

Jinja's sandbox lets a template touch nothing but its data.  Here every look-up, call, filter, test
and turn of a loop is a step, what is made costs steps by its size, and a rendering has only so many
steps and seconds.  A list costs by all that is in it, however often: else two that hold one another
in sixty levels could be compared until the end of days.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, MappingView, Sized
from itertools import chain
from string import Formatter
from typing import Any, TypeVar

from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

T = TypeVar("T")
MOST_STEPS = 2_000_000
"""A chat of 1,000 messages takes about 30,000."""

MOST_SECONDS = 3.0
"""Of the processor, so that it is the same on a busy machine; those 1,000 messages take 0.1."""

LONGEST = 32 * 1024 * 1024
"""Characters of any text, or items of any list."""

WIDEST = 1_000
"""Columns that a template may ask of a text's method or filter."""

SHORT = 1 << 16
"""Characters of what goes into a filter whose time grows with their square, or worse."""

_STEPS_UNSEEN = 32
_MOST_BITS = 1 << 16
_UNSAFE_METHODS = frozenset(("encode", "fromkeys"))
"""What they make has methods, or holds things, beyond all counting; no chat template uses them."""
_WRITING = frozenset(
    (
        *("capitalize", "center", "e", "escape", "filesizeformat", "forceescape", "format"),
        *("indent", "join", "lower", "replace", "safe", "string", "striptags", "title", "tojson"),
        *("trim", "truncate", "upper", "urlencode", "wordcount", "xmlattr"),
        *(".format", ".format_map", ".join", ".replace"),
    )
)
"""Filters, and methods with a dot, that make a text of whatever they are given."""
_WIDENING = frozenset(
    ("batch", "center", "ljust", "rjust", "round", "slice", "to_bytes", "wordwrap", "zfill")
)
_SLOW = frozenset(("pprint", "striptags", "urlize", "wordwrap"))
_WEIGHED = _WRITING | _SLOW
_COSTLY = _SLOW | {"int", "title", "wordcount"}
"""Filters that need no argument to take long."""
_UNBOUNDED = _WIDENING | {"expandtabs", "format", "format_map", "join", "replace", "translate"}
"""Methods that may make more than they are given."""
_COLUMNS = re.compile(r"%(?:\([^)]*\))?[-#0 +]*([\d.*]*)")
_NUMBER = re.compile(r"\d+")
_WIDE = re.compile(r"\d{4}|[*{]")
# Not unions, which Python makes anew at each look.
_LISTS = (list, tuple, dict)
_SEQUENCES = (str, list, tuple)
_OPAQUE = (MappingView, Namespace)


class TooMuch(SecurityError):
    """The template asks for more than a chat can need."""


class _Counting(CodeGenerator):
    """Compiles `a ~ b`, `[a]`, `(a, b)` and `{a: b}` into calls of the environment."""

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802 - Jinja's name
        self.write("environment.joined((")
        for operand in node.nodes:
            self.visit(operand, frame)
            self.write(", ")
        self.write("))")

    def visit_List(self, node: nodes.List, frame: Frame) -> None:  # noqa: N802 - as above
        self.write("environment.held(")
        super().visit_List(node, frame)
        self.write(")")

    def visit_Dict(self, node: nodes.Dict, frame: Frame) -> None:  # noqa: N802 - as above
        self.write("environment.held(")
        super().visit_Dict(node, frame)
        self.write(")")

    def visit_Tuple(self, node: nodes.Tuple, frame: Frame) -> None:  # noqa: N802 - as above
        made = node.ctx == "load"  # else it is what a loop or an assignment takes apart
        self.write("environment.held(" if made else "")
        super().visit_Tuple(node, frame)
        self.write(")" if made else "")


class Bounded(ImmutableSandboxedEnvironment):
    """A sandbox that counts; `reset` it before each rendering."""

    intercepted_binops = frozenset({"*", "**", "%", "+"})
    code_generator_class = _Counting

    def __init__(self, filters: Mapping[str, Callable[..., Any]], **options: Any) -> None:
        super().__init__(**options, finalize=_shown)
        self.reset()
        self.globals["range"] = self._range
        del self.globals["lipsum"]
        self.filters.update(filters)
        self.filters = {name: self._counted(name, made) for name, made in self.filters.items()}

    def reset(self) -> None:
        self._steps, self._next_look, self._began = 0, 0, time.thread_time()

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
        if self._steps >= self._next_look:
            self._look()

    def _look(self) -> None:
        """Seldom: the thread's own clock takes a system call."""
        if self._steps > MOST_STEPS or time.thread_time() - self._began > MOST_SECONDS:
            raise TooMuch("the template takes too many steps")
        self._next_look = self._steps + _STEPS_UNSEEN

    def _charged(self, made: Any) -> Any:
        """What a step has made."""
        if isinstance(made, str):
            check_length(length := len(made))
            self._charge(1 + length // 128)
        else:
            self._charge(1 + (len(made) // 8 if isinstance(made, _LISTS) else 0))
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

    def concat(self, pieces: Iterable[str]) -> str:
        """What the body of a block, a macro or a `set` has written."""
        texts = [*pieces]
        check_length(sum(map(len, texts)))
        made: str = self._charged("".join(texts))
        return made

    def held(self, made: T) -> T:
        """A list, tuple or dict that the template makes."""
        self._charge(_mass(made))
        return made

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if attr in _UNSAFE_METHODS:
            return False
        # Kimi K2's template keeps a queue, though transformers refuses it; each call is counted.
        queues = isinstance(obj, list) and attr in ("append", "pop")
        return queues or super().is_safe_attribute(obj, attr, value)

    def getattr(self, obj: Any, attribute: str) -> Any:
        self._steps += 1  # what is looked up most often: others look at the clock
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        return self._charged(super().getitem(obj, argument))

    def call(self, context: Any, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        # The sandbox wraps `str.format`.
        owner = getattr(getattr(obj, "__wrapped__", obj), "__self__", None)
        if isinstance(owner, (str, int)) and obj.__name__ in _UNBOUNDED:
            _check_writing(f".{obj.__name__}", owner, [*args, *kwargs.values()])
        elif obj is dict or isinstance(owner, list):
            self._charge(_mass((*args, kwargs)))
        return self._charged(super().call(context, obj, *args, **kwargs))

    def call_test(self, name: str, *args: Any, **kwargs: Any) -> Any:
        self._charge(1)
        return super().call_test(name, *args, **kwargs)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if not (operator == "+" and isinstance(left, str) and isinstance(right, str)):
            _check_operands(operator, left, right)
            if isinstance(left, _LISTS) or isinstance(right, _LISTS):
                self._charge(_grown(operator, left, right))
        return self._charged(super().call_binop(context, operator, left, right))

    def _counted(self, name: str, filter_: Callable[..., Any]) -> Callable[..., Any]:
        """The filter, behind the checks that methods of texts have."""

        at, plain = int(hasattr(filter_, "jinja_pass_arg")), name not in _COSTLY

        def counted(*args: Any, **kwargs: Any) -> Any:
            if plain and len(args) == at + 1 and not kwargs and isinstance(args[at], str):
                return self._charged(filter_(*args))
            owner, arguments = args[at], [*args[at + 1 :], *kwargs.values()]
            heavy = [argument for argument in arguments if _is_heavy(argument)]
            if (heavy or name == "join") and isinstance(owner, (Iterator, range)):
                owner = [*owner]
            _check_writing(name, owner, arguments)
            if heavy:
                self._charge(_mass(heavy) * _places(name, owner, arguments))
            return self._charged(filter_(*args[:at], owner, *args[at + 1 :], **kwargs))

        # Jinja asks a filter by this attribute whether it wants the context or the environment.
        counted.__dict__.update(getattr(filter_, "__dict__", {}))
        return counted


def check_length(length: int) -> None:
    """Raises TooMuch for a text that would be too long."""
    if length > LONGEST:
        raise TooMuch("the template makes too long a text")


def check_weight(value: Any) -> int:
    """About the length of a value's text.  Raises TooMuch where that would be too long."""
    check_length(weight := _weight(value, LONGEST))
    return weight


def _weight(value: Any, room: int) -> int:
    """A lower bound of the length of a value's text, counted until it is over `room`.

    A list that stands in another one a thousand times counts as often, for so it does in the text.
    """
    if isinstance(value, str):
        return len(value)
    if isinstance(value, _OPAQUE):
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


def _mass(value: Any) -> int:
    """How many steps it takes at most to compare a value with another, counted until that are too
    many.
    """
    if isinstance(value, str):
        return 1 + len(value) // 128
    total = 1
    for part in _parts(value):
        total += _mass(part) if isinstance(part, (str, *_LISTS)) else 1
        if total > MOST_STEPS:
            break
    return total


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return chain(value, value.values())
    return value if isinstance(value, _LISTS) else ()


def _shown(value: Any) -> Any:
    """What a template writes."""
    if not isinstance(value, str):
        check_weight(value)
    return value


def _check_writing(name: str, owner: Any, arguments: list[Any]) -> None:
    """Raises TooMuch where a method or filter would make a very long text of its arguments."""
    weight = check_weight([owner, *arguments]) if name in _WEIGHED else 0
    plain = name.removeprefix(".")
    if plain in _SLOW:
        check_length(weight // SHORT * LONGEST)
    if plain in _WIDENING and any(isinstance(n, int) and abs(n) > WIDEST for n in arguments):
        raise TooMuch(f"a template may ask for {WIDEST} columns")
    match plain:
        case "replace":
            _check_replaced(owner, [text for text in arguments if isinstance(text, str)])
        case "indent" | "join" | "tojson" | "urlize" | "wordwrap":
            if (width := max(map(_width, arguments), default=1)) > 1:
                check_length(_weight(owner, LONGEST) * width)
        case "expandtabs":
            check_length(len(owner) * max(8, *map(_width, [0, *arguments])))
        case "translate":
            values = [value for table in arguments for value in _parts(table)]
            check_length(len(owner) * max((_weight(value, LONGEST) for value in values), default=0))
        case "int" if isinstance(owner, str):
            check_length(len(owner) * WIDEST)
        case "title" | "wordcount":
            check_length(weight * 16)
        case "sum" if any(isinstance(argument, _LISTS) for argument in arguments):
            check_length(_size(owner) * _weight(owner, LONGEST))
        case "format" if name == "format":
            _check_columns(_COLUMNS.findall(str(owner)), arguments)
        case "format" | "format_map":
            _check_columns((spec or "" for _, _, spec, _ in Formatter().parse(owner)), arguments)


def _check_replaced(owner: Any, texts: list[str]) -> None:
    if len(texts) > 1:
        check_length(str(owner).count(texts[0]) * len(texts[1]))


def _width(value: Any) -> int:
    """How often an argument may make a text longer than it was."""
    return value if isinstance(value, int) else _weight(value, LONGEST)


def _size(value: Any) -> int:
    return len(value) if isinstance(value, Sized) else 0


def _is_heavy(value: Any) -> bool:
    """Whether it matters how often a filter may put a value somewhere."""
    return isinstance(value, _LISTS) or (isinstance(value, str) and len(value) > 128)


def _places(name: str, owner: Any, arguments: list[Any]) -> int:
    """How often a filter may put an argument into a list: for each item, or in empty columns."""
    items = 1 if isinstance(owner, str) and name != "map" else _size(owner)
    return max(1, items, *(n for n in arguments if isinstance(n, int)))


def _check_columns(layouts: Iterable[str], values: list[Any]) -> None:
    """Raises TooMuch where a layout asks for wide columns, as `%1000000000d` and `%*d` may do, or
    for long values very often.
    """
    layouts = [*layouts]
    if any(_WIDE.search(layout) for layout in layouts):
        raise TooMuch(f"a template may ask for {WIDEST} columns")
    columns = sum(int(number) for layout in layouts for number in _NUMBER.findall(layout))
    check_length(columns + len(layouts) * _weight(values, LONGEST))


def _check_operands(operator: str, left: Any, right: Any) -> None:
    """Raises TooMuch where an operator would make a very long text or number."""
    if operator == "%" and isinstance(left, str):
        _check_writing("format", left, [right])
    elif operator not in ("*", "**"):
        return
    elif isinstance(left, int) and isinstance(right, int):
        bits, more = left.bit_length(), right.bit_length()
        if (bits + more if operator == "*" else bits * right) > _MOST_BITS:
            raise TooMuch("the template makes too large a number")
    else:
        count, other = (left, right) if isinstance(left, int) else (right, left)
        if isinstance(count, int) and isinstance(other, _SEQUENCES):
            check_length(len(other) * count)


def _grown(operator: str, left: Any, right: Any) -> int:
    """How much more than the larger operand a list of `left * right` or `left + right` is."""
    if operator == "*":
        count, other = (left, right) if isinstance(left, int) else (right, left)
        return _mass(other) * count if isinstance(count, int) else 0
    both = isinstance(left, _LISTS) and isinstance(right, _LISTS)
    return _mass(min(left, right, key=len)) if both else 0
