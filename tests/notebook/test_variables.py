"""What cells take from the notebook's variables."""

import json
from pathlib import Path

import pytest

from ollmlx.notebook.variables import Misused, fill, option, schema


def test_a_name_in_braces_is_the_value_of_the_variable():
    assert fill("Hello {name}, {age}!", {"name": "Ann", "age": 7}) == "Hello Ann, 7!"


@pytest.mark.parametrize("text", ['{"a": {"b": 1}}', "{x.y}", "f(){ }", "{a!r}", "{1}", "}{"])
def test_every_other_brace_stays(text: str):
    assert fill(text, {"x": 1, "a": 2}) == text


def test_doubled_braces_are_the_text_itself():
    assert fill("{{name}} is {name}", {"name": "{other}"}) == "{name} is {other}"


def test_an_unknown_name_is_an_error_that_tells_the_way_out():
    with pytest.raises(Misused, match=r"no variable is called nam; write \{\{nam\}\}"):
        fill("{nam}", {})


def test_a_schema_is_a_variable_or_a_file(tmp_path: Path):
    class Person:
        @classmethod
        def model_json_schema(cls) -> dict[str, str]:
            return {"type": "object"}

    (file := tmp_path / "schema.json").write_text('{"type": "array"}')
    assert schema("json", {}) == "json"
    assert schema("Person", {"Person": Person}) == {"type": "object"}
    assert schema("mine", {"mine": {"type": "string"}}) == {"type": "string"}
    assert schema(str(file), {}) == {"type": "array"}


def test_a_schema_that_is_nowhere_is_an_error(tmp_path: Path):
    with pytest.raises(Misused, match="nowhere is neither"):
        schema("nowhere", {})
    (file := tmp_path / "broken.json").write_text("{")
    with pytest.raises(Misused, match="is not JSON"):
        schema(str(file), {})


def test_options_keep_their_types():
    written = ["top_k=3", "min_p=0.1", 'stop=["a"]', "stop=END"]
    meant = [("top_k", 3), ("min_p", 0.1), ("stop", ["a"]), ("stop", ["END"])]
    assert [option(text) for text in written] == meant
    with pytest.raises(Misused, match="key=value"):
        option("top_k")


def test_an_error_draws_itself_in_one_line():
    assert json.dumps(Misused("so not")._render_traceback_()) == '["so not"]'
