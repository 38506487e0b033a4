"""GBNF in the spellings that llama.cpp takes."""

import pytest

from ollmlx.engine.gbnf import to_lark
from tests.engine.bytewise import accepted, matcher

JSON = r"""
root   ::= object
value  ::= object | array | string | number | ("true" | "false" | "null") ws
object ::=
  "{" ws (
            string ":" ws value
    ("," ws string ":" ws value)*
  )? "}" ws
array  ::= "[" ws ( value ("," ws value)* )? "]" ws
string ::=
  "\"" (
    [^"\\\x7F\x00-\x1F] |
    "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}) # escapes
  )* "\"" ws
number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws
# Optional space, applied after literal characters
ws ::= | " " | "\n" [ \t]{0,20}
"""
"""llama.cpp's grammars/json.gbnf."""


def accepts(grammar: str, text: str) -> bool:
    return accepted(matcher(to_lark(grammar)), text)


def test_the_json_of_llama_cpp() -> None:
    assert accepts(JSON, '{"a": [1, -2.5e3, "x\\n\\u00e9", {"b":null}]}')
    assert not accepts(JSON, '{"a"}')


@pytest.mark.parametrize(
    ("grammar", "kept", "broken"),
    [
        (r'root ::= "\u0041" | [\u4e00-\u9fff]+', "A", "B"),
        (r"root ::= [\U0001F600-\U0001F64F]", "😀", "a"),
        (r'root ::= "\x00é\n/" [/\]\[]', "\x00é\n/]", "\x00é\n]"),
        ("root ::= x\nx ::= . .", "\n😀", "a"),
        ('root ::= foo_Bar fooBar\nfoo_Bar ::= "a"\nfooBar ::= "b"', "ab", "a"),
        ('root ::= if\nif ::= "a" start?\nstart ::= "b"', "ab", "b"),
        ('root ::= "a"{,3} [a-b-c&&~~]', "aa-", "aaaaa"),
        ("root ::= [+--]", "-", "a"),
        ("root ::= [^^-]", "a", "^"),
        ('root ::= "x" root | "y"', "xxy", "x"),
        ('root ::= "a" # c "\n\n x ::= "y"', "a", "y"),
        ('root ::= ("a" |\n "b"\n | "c")\n', "c", "d"),
    ],
)
def test_every_spelling_means_what_it_does_there(grammar: str, kept: str, broken: str) -> None:
    assert accepts(grammar, kept)
    assert not accepts(grammar, broken)


@pytest.mark.parametrize(
    ("grammar", "problem"),
    [
        ('x ::= "a"', "No 'root' rule"),
        ("root ::= x", "not found"),
        (r'root ::= "a\q"', "invalid escape"),
        ('root ::= ("a"', "Expected"),
        ('root ::= "a', "unexpected"),
        (r'root ::= "\ud83d"', "no character"),
        ("root ::= " + "(" * 3000, "recursion"),
    ],
)
def test_what_is_no_gbnf_is_told(grammar: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        to_lark(grammar)
