"""Cells with more than words: types, functions, images, conversations."""

import base64
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

from ollmlx.notebook.errors import Failed, Interrupted, Misused, Shown
from tests.stand_in import StandIn


@dataclass
class Point:
    x: int


def ask(shell: InteractiveShell, line: str, cell: str = "Hello?") -> None:
    shell.run_cell_magic("ollmlx", line, cell)


def calling(name: str, **arguments: Any) -> Any:
    """A script that calls once, and then repeats what it was told."""

    def script(request: dict[str, Any]) -> dict[str, Any]:
        last = request["messages"][-1]
        if last["role"] == "tool":
            return {"content": f"It is {last['content']}."}
        call = {"function": {"name": name, "arguments": arguments}}
        return {"content": "", "tool_calls": [call]}

    return script


def test_a_shape_makes_the_answer_a_value(shell: InteractiveShell, server: StandIn):
    server.words = ['{"x":', " 3}"]
    shell.user_ns["Point"] = Point
    ask(shell, "m --format Point --out point")
    assert shell.user_ns["point"] == Point(3)
    assert server.asked[0]["format"]["required"] == ["x"]


def test_an_answer_that_was_cut_off_has_no_value(shell: InteractiveShell, server: StandIn):
    server.script = lambda request: {"content": '{"x', "done_reason": "length"}
    shell.user_ns["Point"] = Point
    with pytest.raises(Failed, match="cut off: --num-predict allows more tokens"):
        ask(shell, "m --format Point --out point")
    assert "point" not in shell.user_ns
    assert shell.user_ns["_ollmlx"].text == '{"x'


def test_a_function_is_called_and_the_answer_goes_on(
    shell: InteractiveShell, server: StandIn, capsys: pytest.CaptureFixture[str]
):
    server.script = calling("area", width=2, height=3)

    def area(width: int, height: int) -> int:
        """The area of a rectangle."""
        return width * height

    shell.user_ns["area"] = area
    ask(shell, "m --tools area")
    assert capsys.readouterr().out == "area(width=2, height=3) → 6\nIt is 6.\n"
    told = server.asked[0]["tools"][0]["function"]
    assert (told["name"], set(told["parameters"]["properties"])) == ("area", {"width", "height"})
    assert shell.user_ns["_ollmlx"].bundle()["text/markdown"] == (
        "> `area(width=2, height=3)` → `6`\n\nIt is 6."
    )
    server.script = None
    ask(shell, "m", "And then?")
    roles = [message["role"] for message in server.asked[-1]["messages"]]
    assert roles == ["user", "assistant", "tool", "assistant", "user"]


def test_functions_have_the_names_of_their_variables_and_may_be_asynchronous(
    shell: InteractiveShell, server: StandIn, capsys: pytest.CaptureFixture[str]
):
    async def power(base: int, exponent: int) -> int:
        return int(base**exponent)

    shell.user_ns["square"] = partial(power, exponent=2)
    shell.user_ns["odd"] = lambda x: "odd" if x % 2 else "even"
    for name, arguments in (("square", {"base": 3}), ("odd", {"x": 3})):
        server.script = calling(name, **arguments)
        ask(shell, "m --new --tools square,odd")
    assert capsys.readouterr().out == "square(base=3) → 9\nIt is 9.\nodd(x=3) → odd\nIt is odd.\n"
    shell.user_ns["odd"].__annotations__["x"] = "Unheard"
    with pytest.raises(Misused, match=r"--tools: PydanticUserError: .* not fully defined"):
        ask(shell, "m --tools odd")


def test_a_function_that_fails_or_is_not_there_is_told_to_the_model(
    shell: InteractiveShell, server: StandIn
):
    shell.user_ns["area"] = lambda: 1 / 0
    shell.user_ns["area"].__name__ = "area"
    for name, told in (("area", "error: ZeroDivisionError"), ("rm", "there is no function rm")):
        server.script = calling(name)
        ask(shell, "m --new --tools area")
        assert told in shell.user_ns["_ollmlx"].calls[0].result


def test_a_call_is_shown_while_it_runs_and_after_it_was_interrupted(
    shell: InteractiveShell, server: StandIn, capsys: pytest.CaptureFixture[str]
):
    server.script = calling("wait")

    def wait() -> None:
        shown.append(shell.user_ns["_ollmlx"].bundle())
        raise KeyboardInterrupt

    shown: list[dict[str, str]] = []

    shell.user_ns["wait"] = wait
    with pytest.raises(Interrupted):
        ask(shell, "m --tools wait")
    assert shown == [{"text/plain": "", "text/markdown": "> `wait()` → …"}]
    assert capsys.readouterr().out == "wait()\n"


def test_a_model_that_only_calls_is_stopped(shell: InteractiveShell, server: StandIn):
    call = {"function": {"name": "now", "arguments": {}}}
    server.script = lambda request: {"content": "", "tool_calls": [call]}

    def now() -> str:
        return "noon"

    shell.user_ns["now"] = now
    with pytest.raises(Failed, match="called functions in 3 answers and gave no other; --rounds"):
        ask(shell, "m --tools now --rounds 3")
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("m --tools nothing", "no function is called nothing"),
        ("m --rounds 0", "--rounds is a number from 1 up"),
        ("m -o num_prdict=9", "no option is called num_prdict; did you mean num_predict?"),
        ("m -t nan", "the option temperature is a number, not nan"),
        ("m --think=much", "invalid choice: 'much'"),
        ("m --temperature warm", "invalid float value"),
        ("m --format nowhere", "--format nowhere: neither a variable"),
        ("m --image nowhere.png", "--image nowhere.png: no variable"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_asked(
    shell: InteractiveShell, server: StandIn, line: str, said: str
):
    with pytest.raises(Shown, match=said):
        ask(shell, line)
    assert server.asked == []


def test_a_cell_with_nothing_in_it_is_refused(shell: InteractiveShell, server: StandIn):
    with pytest.raises(Misused, match="there is nothing below %%ollmlx to ask"):
        ask(shell, "m", " \n")
    assert server.asked == []


def test_thinking_needs_no_level_whatever_is_behind_it(shell: InteractiveShell, server: StandIn):
    for line in ("--think m", "m --think", "--think high m", "m --think=false"):
        ask(shell, line)
    assert [request["think"] for request in server.asked] == [True, True, "high", False]
    assert {request["model"] for request in server.asked} == {"m"}


def test_a_shape_is_of_what_came_behind_the_calls_and_all_is_shown_in_its_order(
    shell: InteractiveShell, server: StandIn, capsys: pytest.CaptureFixture[str]
):
    def now() -> str:
        return "noon"

    def script(request: dict[str, Any]) -> dict[str, Any]:
        if request["messages"][-1]["role"] == "tool":
            return {"content": '{"x": 3}'}
        call = {"function": {"name": "now", "arguments": {}}}
        return {"thinking": "Hm.", "content": "I look.", "tool_calls": [call]}

    server.script = script
    shell.user_ns |= {"Point": Point, "now": now}
    ask(shell, "m --format Point --tools now --out point")
    assert shell.user_ns["point"] == Point(3)
    assert capsys.readouterr().out == 'I look.\nnow() → noon\n{"x": 3}\n'
    _, order = shell.user_ns["_ollmlx"].bundle()["text/markdown"].split("</details>\n\n")
    assert order == 'I look.\n\n> `now()` → `noon`\n\n```json\n{"x": 3}\n```'


def test_images_are_sent_with_the_question(shell: InteractiveShell, server: StandIn):
    shell.user_ns["picture"] = b"\x89PNG"
    ask(shell, "m --image picture")
    assert server.asked[0]["messages"][0]["images"] == [base64.b64encode(b"\x89PNG").decode()]


def test_a_named_conversation_spans_models(
    shell: InteractiveShell, server: StandIn, capsys: pytest.CaptureFixture[str]
):
    for line in ("m --chat talk", "other --chat talk", "m"):
        ask(shell, line)
    assert [len(request["messages"]) for request in server.asked] == [1, 3, 1]
    capsys.readouterr()
    shell.run_line_magic("ollmlx", "chats")
    shell.run_line_magic("ollmlx", "chats talk --out text")
    assert "talk          4" in capsys.readouterr().out
    assert shell.user_ns["text"].startswith("**user**\n\nHello?\n\n**assistant**\n\nGood day!")
    with pytest.raises(Misused, match="no conversation is called nosuch"):
        shell.run_line_magic("ollmlx", "reset nosuch")


def test_raw_leaves_braces_alone(shell: InteractiveShell, server: StandIn):
    ask(shell, "m --raw", "{nothing} {{twice}}")
    assert server.asked[0]["messages"][0]["content"] == "{nothing} {{twice}}"


@pytest.mark.parametrize("line", ["--help", "m --help"])
def test_help_asks_nobody(
    shell: InteractiveShell, server: StandIn, line: str, capsys: pytest.CaptureFixture[str]
):
    ask(shell, line)
    assert "--num-predict" in capsys.readouterr().out
    shell.run_cell(f"%%ollmlx {line}")  # with nothing below it
    assert "--num-predict" in capsys.readouterr().out
    assert server.asked == []


def test_a_path_is_seen_from_where_the_notebook_is(
    shell: InteractiveShell, server: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    shell.run_cell_magic("ollmlx", "./m.gguf", "Hello")
    assert server.asked[-1]["model"] == str(tmp_path / "m.gguf")
