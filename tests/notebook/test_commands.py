"""The commands of `%ollmlx` that change and measure."""

import json
import os
import sys
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell

from ollmlx.notebook.errors import Failed, Misused
from ollmlx.notebook.saying import code, table
from ollmlx.notebook.terminal import Program
from tests.stand_in import StandIn


def run(shell: InteractiveShell, line: str) -> None:
    shell.run_line_magic("ollmlx", line)


def test_a_pull_that_fails_says_why(shell: InteractiveShell, server: StandIn):
    run(shell, "pull m other")
    assert [request["model"] for request in server.asked] == ["m", "other"]
    with pytest.raises(Failed, match="model 'missing' not found"):
        run(shell, "pull missing")


def test_deleting_unloads_first(shell: InteractiveShell, server: StandIn):
    run(shell, "rm m")
    asked = [(request["path"], request.get("keep_alive")) for request in server.asked]
    assert asked == [("generate", 0), ("delete", None)]


def test_quantising_names_the_new_model_after_the_old(shell: InteractiveShell, server: StandIn):
    run(shell, "quantize m:1b q4_K_M")
    run(shell, "quantize m q8_0 mine")
    made = [(r["model"], r["from"], r["quantize"]) for r in server.asked]
    assert made == [("m:1b-q4_K_M", "m:1b", "q4_K_M"), ("mine", "m", "q8_0")]


def test_models_are_compared_side_by_side(
    shell: InteractiveShell, server: StandIn, capsys: pytest.CaptureFixture[str]
):
    run(shell, "compare m other -p 'Hello?' --out answers")
    said = capsys.readouterr().out
    assert "m      2.0       Good day!" in said
    assert [answer.model for answer in shell.user_ns["answers"]] == ["m", "other"]


def test_a_bench_leaves_its_numbers(shell: InteractiveShell, server: StandIn):
    run(shell, "bench m --streams 1,2 --tokens 3 --out measured")
    measured = shell.user_ns["measured"]
    assert [(one["streams"], one["tokens"]) for one in measured] == [(1, 3), (2, 6)]
    with pytest.raises(Misused, match="--streams is numbers with commas"):
        run(shell, "bench m --streams 0,x")


def test_show_leaves_the_answer(shell: InteractiveShell, server: StandIn):
    run(shell, "show m --out about")
    assert shell.user_ns["about"].modelinfo == {}


@pytest.mark.parametrize("line", ["serve --help", "help serve"])
def test_every_command_has_its_help(
    shell: InteractiveShell, line: str, capsys: pytest.CaptureFixture[str]
):
    run(shell, line)
    assert "usage: %ollmlx serve [--port N] [--stop]" in capsys.readouterr().out


def test_names_and_answers_are_text_in_tables_whatever_they_hold():
    evil = '<img src=x onerror="alert(1)">|[x](javascript:1)'
    bundle = table(evil, ["Model"], [[evil]])
    assert "<img" not in bundle["text/markdown"]
    assert r"\|\[x\](javascript:1)" in bundle["text/markdown"]
    assert evil in bundle["text/plain"]


def test_prices_and_marks_of_headings_are_text_in_tables_too():
    shown = table("# Is it $5 or $6?", ["", ""], [["+ $7", "$8"]])
    dollar = "<span>&#36;</span>"
    assert shown["text/markdown"].startswith(rf"\# Is it {dollar}5 or {dollar}6?")
    assert rf"| \+ {dollar}7 | {dollar}8 |" in shown["text/markdown"]
    assert shown["text/plain"] == "# Is it $5 or $6?\n\n+ $7  $8"


@pytest.mark.parametrize("text", ["a`b", "``", "", "x\ny" * 300])
def test_a_code_span_holds_any_text(text: str):
    span = code(text)
    fence = span[: len(span) - len(span.lstrip("`"))]
    assert span.endswith(fence)
    assert fence not in span[len(fence) : -len(fence)].strip(" ") or not text
    assert "\n" not in span


DRAWING = r"""
import sys
assert sys.stderr.isatty()
sys.stderr.write("\rworking  10%\rworking  60%\n")
sys.stderr.write("\x1b[?25l\x1b[1Gwait ⠋ \x1b[1Gwait\n\x1b[1mdone\x1b[0m é")
"""


def test_a_program_is_read_as_it_draws():
    with Program([sys.executable, "-X", "utf8", "-c", DRAWING]) as program:
        drawn = list(program.drawings())
        assert program.status() == 0
    assert ("working  10%", False) in drawn
    assert ("working  60%", True) in drawn
    assert drawn[-1] == ("done é", True)
    assert ("wait", True) not in drawn  # its last drawing says nothing new


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine where nobody serves, with an empty store."""
    monkeypatch.delenv("OLLMLX_HOST", raising=False)
    monkeypatch.delenv("JPY_PARENT_PID", raising=False)
    monkeypatch.delenv("OLLAMA_HOST", raising=False)
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "models"))
    # Whether something listens on 11434 is up to the machine that the tests run on.
    monkeypatch.setattr("ollmlx.servers.DEFAULT_URL", "http://127.0.0.1:1")
    return tmp_path


def test_a_kernel_without_a_server_starts_one_and_ends_it(
    shell: InteractiveShell, nowhere: Path, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(Failed, match="%ollmlx serve"):
        run(shell, "list")
    run(shell, "serve")
    url = os.environ["OLLMLX_HOST"]
    run(shell, "serve")
    assert f"serving at {url}" in capsys.readouterr().out
    run(shell, "list")
    run(shell, "serve --stop")
    assert "OLLMLX_HOST" not in os.environ
    with pytest.raises(Failed, match="no ollmlx server answers"):
        run(shell, "list")


def test_a_server_that_cannot_start_says_why(
    shell: InteractiveShell, nowhere: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OLLAMA_NUM_PARALLEL", "many")
    with pytest.raises(Failed, match=r"did not start: .*OLLAMA_NUM_PARALLEL must be a whole"):
        run(shell, "serve")


def test_a_port_that_cannot_be_is_refused(shell: InteractiveShell):
    with pytest.raises(Misused, match="--port is a number from 0"):
        run(shell, "serve --port 65536")


def test_an_error_within_json_is_told_without_its_braces(shell: InteractiveShell, server: StandIn):
    inner = json.dumps({"error": {"code": 400, "message": "no pictures"}})
    server.script = lambda request: {"error": inner, "status": 400}
    with pytest.raises(Failed, match=r"^no pictures$"):
        shell.run_cell_magic("ollmlx", "m", "Hello")


def test_converting_what_is_not_there_says_so(shell: InteractiveShell, server: StandIn):
    with pytest.raises(Failed, match="'nosuch' not found"):
        run(shell, "convert nosuch")
