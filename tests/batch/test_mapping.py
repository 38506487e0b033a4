"""`ollmlx.map` against a server that answers from a script."""

import json
import os
import signal
import threading
from pathlib import Path
from typing import Any, Literal

import ollama
import pandas as pd
import polars as pl
import pytest
from pydantic import BaseModel

import ollmlx
from ollmlx.batch.mapping import RowsFailed, ServerLost, Stopped
from ollmlx.errors import BadRequest
from tests.stand_in import StandIn

ollmlx.register_accessors()


def said(request: dict[str, Any]) -> str:
    return str(request["messages"][-1]["content"])


def echo(request: dict[str, Any]) -> dict[str, Any]:
    return {"content": said(request)}


def lengths(request: dict[str, Any]) -> dict[str, Any]:
    return {"content": json.dumps({"text": said(request), "length": len(said(request))})}


def test_every_row_is_asked_and_answered_in_order(server: StandIn):
    server.script = echo
    assert ollmlx.map([1, "b"], "Say {}", model="m", system="Be brief.") == ["Say 1", "Say b"]
    assert server.asked[0]["messages"][0] == {"role": "system", "content": "Be brief."}


def test_a_few_are_under_way_at_once_and_no_more(server: StandIn):
    server.script = echo
    ollmlx.map(range(40), "{}", model="m", parallel=3)
    assert 1 < server.most_at_once <= 3


def test_a_server_that_tells_its_places_is_kept_busy(server: StandIn):
    server.places, server.awaited, server.script = 60, 120, echo
    assert ollmlx.map(range(200), "{}", model="m", options={"num_ctx": 99})[199] == "199"
    load, *rows = server.asked
    assert (load["messages"], load["options"], len(rows)) == ([], {"num_ctx": 99}, 200)
    assert server.most_at_once == 120
    ollmlx.map([], "{}", model="m")
    assert len(server.asked) == 201


def test_answers_are_values_of_the_shape(server: StandIn):
    server.script = lambda request: {"content": '"no"'}
    yes_or_no = Literal["yes", "no"]
    assert ollmlx.map(["a"], "{}", yes_or_no, model="m", options={"seed": 1}) == ["no"]
    assert server.asked[0]["format"] == {"enum": ["yes", "no"], "type": "string"}
    assert server.asked[0]["options"] == {"seed": 1}


def test_without_a_model_the_loaded_one_is_asked(server: StandIn):
    ollmlx.map(["a"], "{}")
    assert server.asked[0]["model"] == "m:1b"


def test_a_pandas_series_gives_a_series_or_columns(server: StandIn):
    server.script = lengths
    texts = pd.Series(["a", "bc"], index=[10, 20])
    columns = ollmlx.map(texts, "{}", {"type": "object"}, model="m")
    assert columns.to_dict() == {"text": {10: "a", 20: "bc"}, "length": {10: 1, 20: 2}}
    server.script = echo
    answers = texts.ollmlx.map("<{}>", model="m")
    assert answers.to_dict() == {10: "<a>", 20: "<bc>"}


def test_a_pandas_frame_gets_the_answers_as_columns(server: StandIn):
    server.script = lengths
    frame = pd.DataFrame({"name": ["Al", "Bo"], "text": ["x", "y"]})
    done = frame.ollmlx.map("{name}: {text}", {"type": "object"}, model="m")
    assert list(done.columns) == ["name", "text", "text_answer", "length"]
    assert list(done["text_answer"]) == ["Al: x", "Bo: y"]


def test_each_row_of_a_frame_keeps_its_answer_whatever_labels_and_columns_there_are(
    server: StandIn,
):
    server.script = echo
    frame = pd.DataFrame({"text": ["a", "b", "c"]}, index=[0, 0, 1])
    twice = frame.ollmlx.map("{text}", model="m").ollmlx.map("{text}!", model="m")
    done = twice.ollmlx.map("{text}?", model="m")
    assert done.index.tolist() == [0, 0, 1]
    assert done["answer"].tolist() == ["a", "b", "c"]
    assert done["answer_answer_2"].tolist() == ["a?", "b?", "c?"]
    assert pl.DataFrame({"answer": ["a"]}).ollmlx.map("{answer}", model="m").shape == (1, 2)


def test_polars_is_served_alike(server: StandIn):
    server.script = lengths
    frame = pl.DataFrame({"text": ["a", "bc"]})
    done = frame.ollmlx.map("{text}", {"type": "object"}, model="m")
    assert done.to_dict(as_series=False) == {
        "text": ["a", "bc"],
        "text_answer": ["a", "bc"],
        "length": [1, 2],
    }
    server.script = echo
    assert frame["text"].ollmlx.map(model="m").to_list() == ["a", "bc"]


def test_what_is_missing_is_an_empty_text_and_a_row_of_nothing_else_is_not_asked(server: StandIn):
    server.script = echo
    rows = [None, "a", float("nan"), pd.NA, pd.NaT, "", 0]
    missing = [None, "<a>", None, None, None, "<>", "<0>"]
    assert ollmlx.map(rows, "<{}>", model="m") == missing
    frame = pd.DataFrame({"a": ["x", None, None], "b": [1.5, 2, None]})
    assert ollmlx.map(frame, "{a}-{b}", model="m").dropna().tolist() == ["x-1.5", "-2.0"]
    assert pl.Series([None, "ab"]).ollmlx.embed("m").to_list() == [None, [2, 1]]


def test_tables_of_other_kinds_have_rows_too(server: StandIn):
    class Own(pd.DataFrame): ...

    class Arrow:
        def to_pylist(self) -> list[dict[str, str]]:
            return [{"a": "y"}]

    server.script = echo
    assert ollmlx.map(Own({"a": ["x"]}), "{a}", model="m").tolist() == ["x"]
    assert list(Own({"a": ["x"]}).ollmlx.map("{a}", model="m")) == ["a", "answer"]
    assert ollmlx.map(Arrow(), "{a}", model="m") == ["y"]
    assert ollmlx.map((row for row in "xy"), "{}", model="m") == ["x", "y"]


def test_texts_are_embedded_row_by_row(server: StandIn):
    vectors = pd.Series(["a", "bcd"]).ollmlx.embed("m")
    assert vectors.tolist() == [[1, 1], [3, 1]]
    assert pl.Series(["a"]).ollmlx.embed("m").to_list() == [[1, 1]]


def test_a_row_that_fails_is_told_and_asked_again_alone(server: StandIn):
    failing = {"b"}

    def script(request: dict[str, Any]) -> dict[str, Any]:
        failed = said(request) in failing
        return {"status": 400, "error": "too long"} if failed else lengths(request)

    server.script = script
    frame = pd.DataFrame({"text": ["a", "b"]})
    first = "1 of 2 rows failed, the first is row 1: too long"
    with pytest.warns(RowsFailed, match=first) as warned:
        done = frame.ollmlx.map("{text}", {"type": "object"}, model="m")
    assert warned[0].filename == __file__  # the line that asked, not one of ours
    assert list(done["error"].fillna("")) == ["", "too long"]
    failing.clear()
    asked = len(server.asked)
    done = frame.ollmlx.map("{text}", {"type": "object"}, model="m")
    assert list(done["length"]) == [1, 1]
    assert len(server.asked) == asked + 1


@pytest.mark.parametrize("frames", [pd, pl])
def test_a_frame_has_a_column_of_errors_even_where_every_row_failed(server: StandIn, frames: Any):
    server.script = lambda request: {"status": 400, "error": "too long"}
    with pytest.warns(RowsFailed, match="2 of 2 rows failed"):
        done = frames.DataFrame({"text": ["a", "b"]}).ollmlx.map("{text}", model="m")
    assert list(done.columns) == ["text", "answer", "error"]
    assert list(done["error"]) == ["too long", "too long"]


def test_a_field_that_is_called_error_stays_beside_the_errors(server: StandIn):
    def script(request: dict[str, Any]) -> dict[str, Any]:
        bad = {"status": 400, "error": "too long"}
        return bad if said(request) == "long" else {"content": '{"error": "none"}'}

    server.script = script
    with pytest.warns(RowsFailed):
        done = ollmlx.map(pl.Series(["a", "long"]), "{}", {"type": "object"}, model="m")
    assert done.rows() == [("none", None), (None, "too long")]


def test_a_row_that_cannot_be_sent_is_one_row_that_failed(server: StandIn):
    server.script = echo
    with pytest.warns(RowsFailed, match="row 0: no text that could be sent: 'utf-8' codec"):
        assert ollmlx.map(["\udc80", "c"], "{}", model="m") == [None, "c"]


def test_a_server_that_is_gone_is_said_in_one_line():
    with pytest.raises(
        ServerLost, match=r"no server answers at http://127\.0\.0\.1:1, after 0 of 1"
    ):
        ollmlx.map(["a"], "{}", model="m", host="http://127.0.0.1:1", retries=0)


def test_polars_holds_answers_of_several_kinds(server: StandIn):
    server.script = lambda request: {"content": said(request)}
    rows = pl.Series(['{"a": 1}', "3", '"x"', "2.5"])
    values = [{"a": 1}, 3, "x", 2.5]
    assert rows.ollmlx.map("{}", "json", model="m").to_list() == values
    assert rows[1::2].ollmlx.map("{}", "json", model="m").sum() == 5.5


def test_what_may_pass_is_tried_again(server: StandIn):
    tries = []

    def script(request: dict[str, Any]) -> dict[str, Any]:
        tries.append(request)
        return {"status": 503, "error": "busy"} if len(tries) == 1 else echo(request)

    server.script = script
    assert ollmlx.map(["a"], "{}", model="m") == ["a"]
    server.script = lambda request: {"status": 503, "error": "busy"}
    with pytest.warns(RowsFailed, match="busy"):
        assert ollmlx.map(["b"], "{}", model="m", retries=0) == [None]


def test_an_answer_that_was_cut_off_is_a_failed_row(server: StandIn):
    server.script = lambda request: {"content": '{"a', "done_reason": "length"}
    with pytest.warns(RowsFailed, match="not of the shape .* cut off: num_predict allows more"):
        assert ollmlx.map(["a"], "{}", "json", model="m") == [None]
    assert len(server.asked) == 1


def test_what_no_row_would_be_answered_ends_the_batch(server: StandIn):
    with pytest.raises(ollama.ResponseError, match="model 'missing' not found"):
        ollmlx.map(range(100), "{}", model="missing")
    assert len(server.asked) <= 16
    server.token = "of somebody else"
    with pytest.raises(ollama.ResponseError, match="forbidden"):
        ollmlx.map(["a"], "{}", model="m")


def interrupt_at(row: str, noticed: threading.Event) -> Any:
    """Answers no further row before the interrupt is noticed."""

    def script(request: dict[str, Any]) -> dict[str, Any]:
        if said(request) == row:
            os.kill(os.getpid(), signal.SIGINT)
            noticed.wait(30)
        return echo(request)

    return script


def test_an_interrupted_batch_goes_on_where_it_was(server: StandIn):
    noticed = threading.Event()
    server.script = interrupt_at("Row 50", noticed)
    with pytest.raises(Stopped, match="of 100 rows; they are kept") as caught:
        ollmlx.map(range(100), "Row {}", model="m", parallel=2)
    noticed.set()
    assert "rows; they are kept" in caught.value._render_traceback_()[0]
    asked = len(server.asked)
    server.script = echo
    assert ollmlx.map(range(100), "Row {}", model="m") == [f"Row {n}" for n in range(100)]
    assert len(server.asked) - asked <= 52
    ollmlx.map(range(3), "Row {}", model="m")  # a whole batch is forgotten
    assert len(server.asked) - asked <= 52 + 3


def test_a_file_keeps_answers_for_another_kernel(server: StandIn, tmp_path: Path):
    server.script = echo
    file = tmp_path / "answers.jsonl"
    ollmlx.map(["a", "b", "a"], "{}", model="m", keep=file)
    with file.open("a") as opened:
        opened.write('{"key": "half a li')
    for row in ("c", "d"):
        assert ollmlx.map(["a", "b", "a"], "{}", model="m", keep=file) == ["a", "b", "a"]
        assert len(server.asked) == 3
        ollmlx.map([row], "{}", model="m", keep=file)
        server.asked.pop()


def test_a_file_that_cannot_keep_answers_is_told_before_anything_is_asked(
    server: StandIn, tmp_path: Path
):
    file = tmp_path / "notes.txt"
    file.write_text("not ours")
    with pytest.raises(BadRequest, match="does not hold answers: line 1"):
        ollmlx.map(["a"], "{}", model="m", keep=file)
    assert file.read_text() == "not ours"
    with pytest.raises(BadRequest, match="cannot keep answers: No such file or directory"):
        ollmlx.map(["a"], "{}", model="m", keep=tmp_path / "nowhere" / "a.jsonl")
    assert server.asked == []


@pytest.mark.parametrize(
    ("rows", "prompt", "refusal"),
    [
        (["a"], "the same", "the prompt has no field"),
        (["a"], "{name}", "the rows have none"),
        (pd.DataFrame({"a": [1]}), "{b}", "no column is called 'b'; there are a"),
        ("text", "{}", "str has not"),
        (["a"], lambda row: 3, "the function made int of a row"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_asked(
    server: StandIn, rows: Any, prompt: Any, refusal: str
):
    with pytest.raises(BadRequest, match=refusal):
        ollmlx.map(rows, prompt, model="m")
    assert server.asked == []


def test_no_rows_are_no_answers(server: StandIn):
    assert ollmlx.map([], "{}", model="m") == []
    assert pl.Series([], dtype=pl.String).ollmlx.embed("m").dtype == pl.List(pl.Float64)


class Town(BaseModel):
    name: str
    people: int | None
    twins: list["Town"]
    rates: dict[str, float]
    kind: Literal["port", "spa"]


@pytest.mark.parametrize("frames", [pd, pl])
@pytest.mark.parametrize("wanted", [Town, Town | None, int, Literal["a"], None])
def test_a_table_without_rows_has_the_columns_of_one_with_rows(
    server: StandIn, frames: Any, wanted: Any
):
    town = {"name": "Bergen", "people": 3, "twins": [], "rates": {}, "kind": "port"}
    values = {int: 3, Literal["a"]: "a"}
    server.script = lambda _: {"content": json.dumps(values.get(wanted, town))}
    full = frames.DataFrame({"text": ["a"]})
    none = full.head(0).ollmlx.map("{text}", wanted, model="m")
    some = full.ollmlx.map("{text}", wanted, model="m")
    assert list(none.columns) == list(some.columns)
    assert list(none.dtypes) == list(some.dtypes)
    assert len(none) == len(full["text"].head(0).ollmlx.map("{}", wanted, model="m")) == 0


def test_a_table_of_failures_has_the_columns_of_one_with_answers(server: StandIn):
    server.script = lambda request: {"status": 400, "error": "too long"}
    with pytest.warns(RowsFailed):
        done = ollmlx.map(pd.Series(["a"], index=[7]), "{}", Town, model="m")
    assert [*done.columns] == [*Town.model_fields, "error"]
    assert done.index.tolist() == [7]


def test_a_prompt_may_be_a_function_of_the_row(server: StandIn):
    server.script = echo
    frame = pd.DataFrame({"a": [1, 2]})
    assert ollmlx.map(frame, lambda row: f"{row['a'] * 2}", model="m").tolist() == ["2", "4"]


@pytest.mark.parametrize(
    ("request_", "refusal"),
    [
        (
            {"options": {"temprature": 0}},
            "no option is called temprature; did you mean temperature?",
        ),
        (
            {"options": {"temperature": float("nan")}},
            "the option temperature is a number, not nan",
        ),
        (
            {"options": ollama.Options(mirostat=1)},
            "no option is called mirostat; there are num_ctx",
        ),
        ({"temperature": 0}, r"not temperature; .* goes into options=\{…\}"),
        ({"stream": True, "tools": []}, "takes options, think, keep_alive .*, not stream, tools"),
    ],
)
def test_what_a_server_would_ignore_is_refused(
    server: StandIn, request_: dict[str, Any], refusal: str
):
    with pytest.raises(BadRequest, match=refusal):
        ollmlx.map(["a"], "{}", model="m", **request_)
    assert server.asked == []


async def test_it_runs_where_a_loop_runs_already(server: StandIn):
    server.script = echo
    assert ollmlx.map(["a"], "{}", model="m") == ["a"]
