"""What cells take from the notebook's variables."""

import json
from pathlib import Path

import pytest

from ollmlx.notebook.errors import Misused
from ollmlx.notebook.variables import fill, option, wanted_shape


def test_a_name_in_braces_is_the_value_of_the_variable():
    assert fill("Hello {name}, {age}!", {"name": "Ann", "age": 7}) == "Hello Ann, 7!"


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("{x + 1}", "3"),
        ("{rows[0]['}']}", "brace"),
        ("{', '.join(names)}", "{', '.join(names)}"),
        ("{len(names)} of {names[-1].upper()}", "2 of BO"),
        ("{x if x > 1 else 0}", "2"),
        ("{sum(n for n in (x, x))}", "4"),
        ("{[x for x in names][0]}", "{[x for x in names][0]}"),
    ],
)
def test_an_expression_begins_with_a_name(text: str, filled: str):
    values = {"x": 2, "rows": [{"}": "brace"}], "names": ["Al", "Bo"]}
    assert fill(text, values) == filled


@pytest.mark.parametrize(
    "text", ['{"a": {"b": 1}}', "f(){ }", "{1}", "}{", r"\frac{1}{2}", "{", "a }} b"]
)
def test_every_other_brace_stays(text: str):
    assert fill(text, {"x": 1, "a": 2}) == text


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("{{name}} is {name}", "{name} is {other}"),
        ('{{"a": {{"b": {n}}}}}', '{"a": {"b": 5}}'),
        ("{{{n}}}", "{5}"),
        ("{{x:.2f}}", "{x:.2f}"),
    ],
)
def test_doubled_braces_are_the_text_itself_and_values_are_not_looked_into(text: str, filled: str):
    assert fill(text, {"name": "{other}", "n": 5}) == filled


def test_an_unknown_name_is_an_error_that_tells_the_way_out():
    with pytest.raises(Misused, match=r"called nam, in \{nam \+ 1\}; write \{\{nam \+ 1\}\}"):
        fill("{nam + 1}", {})


@pytest.mark.parametrize("text", ["{x:.2f}", "{x!r} is it", "{return}", "{x"])
def test_what_is_no_expression_is_named(text: str):
    with pytest.raises(Misused, match="is not a Python expression"):
        fill(text, {"x": 1.0})


def test_an_expression_that_raises_is_named():
    with pytest.raises(Misused, match=r"\{x / 0\} raised ZeroDivisionError: division by zero"):
        fill("{x / 0}", {"x": 1})


def test_filling_in_leaves_the_variables_alone():
    fill("{len(x)}", variables := {"x": "abc"})
    assert variables == {"x": "abc"}


def test_a_shape_is_json_or_a_variable_or_a_file(tmp_path: Path):
    (file := tmp_path / "schema.json").write_text('{"type": "array"}')
    assert wanted_shape("json", {}).format == "json"
    assert wanted_shape("mine", {"mine": {"type": "string"}}).format == {"type": "string"}
    assert wanted_shape("number", {"number": int}).read("7") == 7
    assert wanted_shape(str(file), {}).format == {"type": "array"}
    assert wanted_shape(None, {}).read("text") == "text"


def test_a_shape_that_is_nowhere_is_an_error(tmp_path: Path):
    with pytest.raises(Misused, match="nowhere: neither a variable nor a file"):
        wanted_shape("nowhere", {})
    with pytest.raises(Misused, match="3 is not a shape: take a pydantic model"):
        wanted_shape("x", {"x": 3})
    (file := tmp_path / "broken.json").write_text("{")
    with pytest.raises(Misused, match="not JSON"):
        wanted_shape(str(file), {})


def test_options_keep_their_types():
    written = ["top_k=3", "min_p=0.1", 'stop=["a"]', "stop=END"]
    meant = [("top_k", 3), ("min_p", 0.1), ("stop", ["a"]), ("stop", ["END"])]
    assert [option(text) for text in written] == meant
    with pytest.raises(Misused, match="key=value"):
        option("top_k")


def test_an_error_draws_itself_in_one_line():
    assert json.dumps(Misused("so not")._render_traceback_()) == '["so not"]'
