"""Go's text/template as Ollama's models use it: parse, ask what a template mentions, execute."""

from ollmlx.errors import OllmlxError
from ollmlx.prompt.gotemplate.functions import FUNCTIONS
from ollmlx.prompt.gotemplate.interpreter import execute
from ollmlx.prompt.gotemplate.nodes import Program
from ollmlx.prompt.gotemplate.parser import parse as _parse
from ollmlx.prompt.gotemplate.values import JSONMap, JSONSlice, JSONStruct, Slice, Struct, TypeNames

__all__ = [
    "JSONMap",
    "JSONSlice",
    "JSONStruct",
    "Program",
    "Slice",
    "Struct",
    "TypeNames",
    "execute",
    "parse",
]


LONGEST_SOURCE = 1 << 18
"""Characters; the longest templates of real models have 30,000."""


def parse(text: str) -> Program:
    """The program of a template.  Raises OllmlxError with Go's text."""
    if len(text) > LONGEST_SOURCE:
        raise OllmlxError(f"template: :1: longer than {LONGEST_SOURCE} characters")
    return _parse(text, FUNCTIONS)
