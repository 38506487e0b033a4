"""The chat template of a Hugging Face model, run as transformers runs it, but bounded.

The sandbox lets a template touch nothing but its data; attribute look-ups, calls and ranges are
counted, and text may not grow without end.  What stays possible is to waste the time of nested
loops over the conversation itself.
Source: transformers' `chat_template_utils.py`, https://huggingface.co/docs/transformers/chat_templating.
"""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from ollmlx.errors import BadRequest, OllmlxError

MOST_STEPS = 2_000_000
"""Look-ups and calls; a chat of 1,000 messages takes about 30,000."""

LONGEST = 32 * 1024 * 1024
"""Characters of a prompt, and of any text or list made on the way."""


class Refused(Exception):
    """The template called `raise_exception`: the conversation does not suit the model."""


class _Generation(Extension):
    """`{% generation %}…{% endgeneration %}`: marks for training, and stands for its body."""

    tags = {"generation"}  # noqa: RUF012 - the base class declares it so

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Bounded(ImmutableSandboxedEnvironment):
    """A sandbox that counts."""

    intercepted_binops = frozenset({"*", "**", "%", "+"})

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
        )
        self.steps = 0
        self.filters["tojson"] = _tojson
        self.globals["raise_exception"] = _refuse
        self.globals["strftime_now"] = lambda layout: datetime.now().strftime(layout)
        self.globals["range"] = self._range

    def charge(self, steps: int) -> None:
        self.steps += steps
        if self.steps > MOST_STEPS:
            raise SecurityError("the template takes too many steps")

    def _range(self, *bounds: int) -> range:
        numbers = range(*bounds)
        self.charge(len(numbers))
        return numbers

    def getattr(self, obj: Any, attribute: str) -> Any:
        self.charge(1)
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        self.charge(1)
        return super().getitem(obj, argument)

    def call(self, context: Any, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        self.charge(1)
        return super().call(context, obj, *args, **kwargs)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        self.charge(1)
        if _size_after(operator, left, right) > LONGEST:
            raise SecurityError("the template makes too long a text")
        return super().call_binop(context, operator, left, right)


def _size_after(operator: str, left: Any, right: Any) -> int:
    """A lower bound of how long the result of an operator is."""
    if operator == "**":
        return (
            (left.bit_length() * right) if isinstance(left, int) and isinstance(right, int) else 0
        )
    if operator == "*":
        count, other = (left, right) if isinstance(left, int) else (right, left)
        return len(other) * count if isinstance(count, int) and isinstance(other, str | list) else 0
    if operator == "%" and isinstance(left, str):
        return _widest(left)
    both = isinstance(left, str | list) and isinstance(right, str | list)
    return len(left) + len(right) if both and operator == "+" else 0


def _widest(layout: str) -> int:
    """More than is allowed when a `%` format has a number too great to be meant as a width."""
    digits = "".join(character if character.isdigit() else " " for character in layout)
    return LONGEST + 1 if any(len(number) > 6 for number in digits.split()) else 0


def _refuse(message: str) -> NoReturn:
    raise Refused(message)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
        default=_undefined,
    )


def _undefined(value: Any) -> None:
    if not isinstance(value, jinja2.Undefined):
        raise TypeError(f"{type(value).__name__} has no JSON")


class Source:
    """A compiled Jinja template.  Raises OllmlxError when the text is not one."""

    def __init__(self, text: str) -> None:
        self._environment = _Bounded()
        try:
            self._template = self._environment.from_string(text)
        except (jinja2.TemplateError, RecursionError) as error:
            line = (
                f" (line {error.lineno})" if isinstance(error, jinja2.TemplateSyntaxError) else ""
            )
            raise OllmlxError(f"invalid chat template: {error}{line}") from error

    def render(self, variables: dict[str, Any]) -> str:
        """The text for the variables.

        Raises BadRequest with the template's own words when it refuses the conversation,
        OllmlxError when it fails, TypeError when values of other types would suit it better.
        """
        self._environment.steps = 0
        try:
            return "".join(self._pieces(variables))
        except Refused as error:
            raise BadRequest(str(error)) from error
        except (
            jinja2.TemplateError,
            ValueError,
            ArithmeticError,
            LookupError,
            AttributeError,
            RecursionError,
        ) as error:
            raise OllmlxError(f"chat template: {error}") from error

    def _pieces(self, variables: dict[str, Any]) -> Iterator[str]:
        length = 0
        for piece in self._template.generate(variables):
            length += len(piece)
            if length > LONGEST:
                raise SecurityError("the template makes too long a text")
            yield piece
