"""Go's text/template as Ollama's models use it: parse, ask what a template mentions, execute."""

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


def parse(text: str) -> Program:
    """The program of a template.  Raises OllmlxError with Go's text."""
    return _parse(text, FUNCTIONS)
