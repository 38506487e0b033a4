"""The chat template of a Hugging Face model, run as transformers runs it, but bounded.

Source: transformers' `chat_template_utils.py`, https://huggingface.co/docs/transformers/chat_templating.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser

from ollmlx.errors import BadRequest, OllmlxError
from ollmlx.prompt.sandbox import WIDEST, Bounded, TooMuch, check_length, check_weight

LONGEST_SOURCE = 1 << 18
"""Characters: a million of them took seven seconds to compile, and 1.4 GB."""


class Refused(Exception):
    """The template called `raise_exception`: the conversation does not suit the model."""


class Unbounded(OllmlxError):
    """The template asks for more than a chat can need, in whatever form it gets it."""


class _Generation(Extension):
    """`{% generation %}…{% endgeneration %}`: marks for training, and stands for its body."""

    tags = {"generation"}  # noqa: RUF012 - the base class declares it so

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _environment(filters: Mapping[str, Callable[..., Any]]) -> Bounded:
    environment = Bounded(
        {"tojson": _tojson, **filters},
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[_Generation, loopcontrols],
    )
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = _now
    return environment


def _refuse(message: str) -> NoReturn:
    check_weight(message)
    raise Refused(message)


def _now(layout: str) -> str:
    check_length(len(layout) * WIDEST)
    return datetime.now().strftime(layout)


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
        default=_otherwise,
    )


def _otherwise(value: Any) -> list[Any] | None:
    """What stands for a value that has no JSON: `map` and `select` are lists to llama.cpp."""
    if isinstance(value, Iterator):
        values = list(value)
        check_weight(values)
        return values
    if not isinstance(value, jinja2.Undefined):
        raise TypeError(f"{type(value).__name__} has no JSON")
    return None


class Source:
    """A compiled Jinja template, with filters of its own.

    Raises OllmlxError when the text is not one.
    """

    def __init__(self, text: str, filters: Mapping[str, Callable[..., Any]] | None = None) -> None:
        self._filters = filters or {}
        if len(text) > LONGEST_SOURCE:
            raise OllmlxError(f"invalid chat template: longer than {LONGEST_SOURCE} characters")
        try:
            self._code = _environment(self._filters).compile(text)
        except (jinja2.TemplateError, SyntaxError, RecursionError) as error:
            line = (
                f" (line {error.lineno})" if isinstance(error, jinja2.TemplateSyntaxError) else ""
            )
            raise OllmlxError(f"invalid chat template: {error}{line}") from error
        self._idle = list[jinja2.Template]()
        """Not in use by any thread: what counts steps counts those of one rendering."""

    def render(self, variables: dict[str, Any]) -> str:
        """The text for the variables; any number of threads may ask at once.

        Raises BadRequest with the template's own words when it refuses the conversation,
        Unbounded or another OllmlxError when it fails, TypeError when values of other types would
        suit it better.
        """
        try:
            template = self._idle.pop()
        except IndexError:
            environment = _environment(self._filters)
            template = jinja2.Template.from_code(environment, self._code, environment.globals)
        try:
            return "".join(_pieces(template, variables))
        except Refused as error:
            raise BadRequest(str(error)) from error
        except TooMuch as error:
            raise Unbounded(f"chat template: {error}") from error
        except (
            jinja2.TemplateError,
            ValueError,
            ArithmeticError,
            LookupError,
            AttributeError,
            RecursionError,
        ) as error:
            raise OllmlxError(f"chat template: {error}") from error
        finally:
            self._idle.append(template)


def _pieces(template: jinja2.Template, variables: dict[str, Any]) -> Iterator[str]:
    environment = template.environment
    assert isinstance(environment, Bounded)
    environment.reset()
    length = 0
    for piece in template.generate(variables):
        length += len(piece)
        check_length(length)
        yield piece
