"""Go templates answer as Go does: `templates/go_answers.json` was written by Go 1.26 itself."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from ollmlx.errors import OllmlxError
from ollmlx.prompt.gotemplate import JSONMap, Struct, execute, parse, printing

ANSWERS = json.loads((Path(__file__).parent / "templates/go_answers.json").read_text())

# Cases that fail in both, where our words point to another place or value.
OTHER_WORDS = (
    '{{ template "zz" . }}',
    "{{ currentDate 1 | len }}",
    "{{ range .Messages }}{{ .Foo }}{{ end }}",
    "{{ eq .L .L }}",
    "{{ call .S }}",
    "{{ printf 5 }}",
    "{{ range $i, $x := 3 }}{{ end }}",
    "{{ $x = 1 }}",
    "{{ (.S).X }}",
    "{{ | .S }}",
)


def message(**fields: Any) -> Struct:
    empty = {"Role": "", "Content": "", "Thinking": "", "ToolCalls": [], "ToolName": ""}
    return Struct("main.msg", {**empty, **fields})


def data() -> dict[str, Any]:
    """What the recorder gave Go."""
    arguments = JSONMap({"x": 1.0, "a": "<b>", "big": 12345678.0})
    function = Struct("main.fn", {"Index": 0, "Name": "f", "Arguments": arguments})
    return {
        "S": "héllo",
        "N": 3,
        "F": 2.5,
        "B": True,
        "L": ["a", "b", 1, None],
        "M": {"b": 1, "a": "x"},
        "E": "",
        "Nil": None,
        "Messages": [
            message(Role="system", Content="sys"),
            message(Role="user", Content="hi"),
            message(
                Role="assistant",
                ToolCalls=[Struct("main.call", {"ID": "1", "Function": function})],
            ),
            message(Role="tool", Content="r", ToolName="f"),
        ],
    }


def answer(template: str) -> tuple[str, str]:
    try:
        return "ok", execute(parse(template), data())
    except OllmlxError as error:
        return "error", str(error)


@pytest.mark.parametrize("case", ANSWERS, ids=lambda case: case["template"][:60])
def test_a_template_gives_what_go_gives(case: dict[str, str]) -> None:
    kind, text = answer(case["template"])
    assert kind == case["kind"]
    if case["template"] not in OTHER_WORDS:
        assert text == case["text"]


def test_an_error_has_the_status_of_a_server_error() -> None:
    with pytest.raises(OllmlxError, match=r"^template: :1: unexpected EOF$") as failure:
        parse("{{ if .X }}")
    assert failure.value.status == 500


@pytest.mark.parametrize(
    "hostile",
    [
        '{{ define "a" }}{{ template "a" }}{{ end }}{{ template "a" }}',
        "{{ range 1000000000 }}{{ end }}",
        "{{ range 100000 }}{{ range 100000 }}{{ end }}{{ end }}",
        '{{ $x := "ab" }}{{ range 60 }}{{ $x = print $x $x }}{{ end }}',
        '{{ $x := "ab" }}{{ range 60 }}{{ $x = printf "%s%s" $x $x }}{{ end }}',
        "{{ range 100000 }}" + "x" * 1000 + "{{ end }}",
        "{{ if .B }}" * 500 + "{{ end }}" * 500,
        "{{ " + "(" * 500 + ".B" + ")" * 500 + " }}",
        "{{ if .E }}" + "{{ else if .E }}" * 500 + "{{ end }}",
        "{{ if .B }}{{ end }}" * 99999,
    ],
)
def test_a_hostile_template_fails_soon(hostile: str) -> None:
    start = time.process_time()
    assert answer(hostile)[0] == "error"
    assert time.process_time() - start < 10


@pytest.mark.parametrize(
    "slow",
    [
        "{{ range $.L }}{{ range $.L }}{{ $x := eq $.S $.S }}{{ $y := len $.S }}{{ end }}{{ end }}",
        '{{ $x := printf "%v%[1]v%[1]v%[1]v%[1]v%[1]v%[1]v%[1]v%[1]v%[1]v" $.L }}',
    ],
)
def test_a_template_ends_after_some_seconds_of_its_own(
    slow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(printing, "MOST_SECONDS", 0.1)  # the test would last as long
    values = {"L": [["x"]] * 20_000, "S": "x" * 1_000_000}
    start = time.thread_time()
    with pytest.raises(OllmlxError, match="takes too long"):
        execute(parse(slow), values)
    assert time.thread_time() - start < 2
    execute(parse("{{ .S }}"), values)  # the next one has its own


def test_a_wide_column_is_refused_as_go_refuses_it() -> None:
    assert answer('{{ printf "%1000000000d" 1 }}') == ("ok", "%!(NOVERB)%!(EXTRA int=1)")


def test_text_of_any_length_is_no_problem() -> None:
    assert len(execute(parse("{{ .S }}"), {"S": "x" * 10_000_000})) == 10_000_000
