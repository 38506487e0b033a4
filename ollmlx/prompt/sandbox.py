"""A Jinja environment that a hostile template cannot use to fill the memory or run for ever.

Jinja's sandbox lets a template touch nothing but its data.  Here look-ups, calls and ranges are
counted as well, and text may not grow without end.  What stays possible is to waste the time of
nested loops over the data itself.
"""

import re
from typing import Any

from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

MOST_STEPS = 2_000_000
"""Look-ups and calls; a chat of 1,000 messages takes about 30,000."""

LONGEST = 32 * 1024 * 1024
"""Characters of any text, or items of any list."""

WIDEST = 1_000
"""Columns that a template may ask of a text's method or filter."""

_WIDENING = frozenset({"center", "expandtabs", "indent", "ljust", "rjust", "wordwrap", "zfill"})
_SHAPING = ("center", "format", "indent", "join", "replace", "wordwrap")
_WIDE_COLUMN = re.compile(r"[%:.][^a-zA-Z%]{0,9}\d{5,}")


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

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._steps = 0
        self.globals["range"] = self._range
        for name in _SHAPING:
            self.filters[name] = _measured(name, self.filters[name])

    def reset(self) -> None:
        self._steps = 0

    def _charge(self, steps: int) -> None:
        self._steps += steps
        if self._steps > MOST_STEPS:
            raise TooMuch("the template takes too many steps")

    def _range(self, *bounds: int) -> range:
        numbers = range(*bounds)
        self._charge(len(numbers))
        return numbers

    def joined(self, operands: tuple[Any, ...]) -> str:
        """`a ~ b ~ …`."""
        texts = [str(operand) for operand in operands]
        check_length(sum(map(len, texts)))
        return "".join(texts)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        # Kimi K2's template keeps a queue, though transformers refuses it; each call is counted.
        queues = isinstance(obj, list) and attr in ("append", "pop")
        return queues or super().is_safe_attribute(obj, attr, value)

    def getattr(self, obj: Any, attribute: str) -> Any:
        self._charge(1)
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        self._charge(1)
        return super().getitem(obj, argument)

    def call(self, context: Any, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        self._charge(1)
        # The sandbox wraps `str.format`.
        owner = getattr(getattr(obj, "__wrapped__", obj), "__self__", None)
        if isinstance(owner, str):
            _check_shaping(obj.__name__, owner, [*args, *kwargs.values()])
        return super().call(context, obj, *args, **kwargs)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        self._charge(1)
        check_length(_length_after(operator, left, right))
        return super().call_binop(context, operator, left, right)


def check_length(length: int) -> None:
    """Raises TooMuch for a text that would be too long."""
    if length > LONGEST:
        raise TooMuch("the template makes too long a text")


def _measured(name: str, filter_: Any) -> Any:
    """The filter, behind the checks that methods of texts have."""

    def measured(*args: Any, **kwargs: Any) -> Any:
        given = args[1:] if hasattr(filter_, "jinja_pass_arg") else args
        _check_shaping(name, given[0] if given else "", [*given[1:], *kwargs.values()])
        return filter_(*args, **kwargs)

    # Jinja asks a filter by this attribute whether it wants the context or the environment.
    measured.__dict__.update(vars(filter_))
    return measured


def _check_shaping(name: str, owner: Any, arguments: list[Any]) -> None:
    """Raises TooMuch where a method or filter of a text would make a very long one."""
    if name in _WIDENING and any(isinstance(n, int) and n > WIDEST for n in arguments):
        raise TooMuch(f"a template may ask for {WIDEST} columns")
    texts = [argument for argument in arguments if isinstance(argument, str)]
    if name == "replace" and len(texts) > 1:
        check_length(str(owner).count(texts[0]) * len(texts[1]))
    elif name == "join":
        parts = arguments[0] if isinstance(owner, str) and arguments else owner
        lengths = map(len, map(str, parts)) if isinstance(parts, list | tuple) else ()
        check_length(sum(lengths))
    elif name in ("format", "format_map"):
        _check_layout(str(owner))


def _check_layout(layout: str) -> None:
    """Raises TooMuch where a layout asks for wide columns, as `%1000000000d` does."""
    if _WIDE_COLUMN.search(layout):
        raise TooMuch(f"a template may ask for {WIDEST} columns")


def _length_after(operator: str, left: Any, right: Any) -> int:
    """A lower bound of how long the result of an operator is."""
    if operator == "**" and isinstance(left, int) and isinstance(right, int):
        return left.bit_length() * right
    if operator == "*":
        count, other = (left, right) if isinstance(left, int) else (right, left)
        return len(other) * count if isinstance(count, int) and isinstance(other, str | list) else 0
    if operator == "%" and isinstance(left, str):
        _check_layout(left)
    both = isinstance(left, str | list) and isinstance(right, str | list)
    return len(left) + len(right) if both and operator == "+" else 0
