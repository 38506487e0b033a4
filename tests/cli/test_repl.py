"""Conversations at a real terminal with echo models: keys in, screen out."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ollmlx.cli.lines import History
from tests.cli.pty_user import User, at_terminal
from tests.stand_in import standing_in

CTRL_C, CTRL_D, CTRL_G, CTRL_J = "\x03", "\x04", "\x07", "\n"


SAID = [
    ("/?", 'Use """ to begin a multi-line message.\r\n\r\n'),
    ("/? shortcuts", "Ctrl + g            Open default editor to compose a prompt"),
    ("/set", "/set nothink           Disable thinking"),
    ("/show", "/show template     Show prompt template"),
    ("/nothing", "Unknown command '/nothing'. Type /? for help"),
    ("/set nothing", "Unknown command '/set nothing'. Type /? for help"),
    ("/show nothing", "Unknown command '/show nothing'. Type /? for help"),
    ("/set parameter", "/set parameter num_gpu <int>"),
    ("/set parameter top_k 5", "Set parameter 'top_k' to '5'"),
    ("/set parameter stop a b", "Set parameter 'stop' to 'a, b'"),
    ("/set parameter top_k x", 'Couldn\'t set parameter: "invalid int value [x]"'),
    ("/set parameter foo 1", "Couldn't set parameter: \"unknown parameter 'foo'\""),
    ("/set format", "Invalid or missing format. For 'json' mode use '/set format json'"),
    ("/set format json", "Set format to 'json' mode."),
    ("/set noformat", "Disabled format."),
    ("/set nowordwrap", "Set 'nowordwrap' mode."),
    ("/set quiet", "Set 'quiet' mode."),
    ("/set think", 'warning: model "echo" does not support thinking output'),
    ("/set think high", "Set 'think' mode to 'high'."),
    ("/show system", "No system message was specified for this model."),
    ("/set system Be brief.", "Set system message."),
    ("/clear", "Cleared session context"),
    ("/list oth", "other:1b"),
    ("/load", "Usage:\r\n  /load <modelname>"),
    ("/load nope", "Couldn't find model 'nope'"),
    ("/save", "Usage:\r\n  /save <modelname>"),
    ("/show info", "  Capabilities\r\n    completion    \r\n"),
    ("/show license", "No license was specified for this model."),
    ("/show template", "{{ .Prompt }}{{ .Response }}"),
    ("/show parameters", "  No additional parameters were specified for this model.\r\n\r\nUser"),
]
"""Commands, and something that each of them shows."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def user(echoing: str, home: Path) -> Iterator[User]:
    """Someone in a conversation with `echo`."""
    with at_terminal("run", "echo", OLLAMA_HOST=echoing, HOME=str(home), OLLMLX_HOST="") as found:
        yield found


def test_a_line_is_answered_and_the_placeholder_goes_when_one_types(user):
    shown = user.sees("Send a message (/? for help)")
    assert ">>> " in shown
    user.says("hello you")
    user.sees("hello you")
    user.sees("hello you\r\n\r\n")
    user.says("/bye")
    assert user.leaves() == 0


def test_ctrl_d_leaves_and_ctrl_c_says_how(user):
    user.sees("\x1b[32D")
    user.types(CTRL_C)
    user.sees("Use Ctrl + d or /bye to exit.")
    user.sees("\x1b[32D")
    user.types(CTRL_D)
    assert user.leaves() == 0


def test_a_quotation_runs_over_lines(user):
    user.says('"""one')
    user.sees("Press Enter to send")
    user.types('two"""\r')
    user.sees("one\r\ntwo\r\n\r\n")


def test_ctrl_j_breaks_the_line_and_enter_sends(user):
    user.sees("\x1b[32D")
    user.types("one")
    user.sees("one")
    user.types(CTRL_J)
    user.sees("...")
    user.types("two")
    user.types("\r")
    user.sees("one\r\ntwo\r\n\r\n")


def test_pasted_lines_are_one_message(user):
    user.sees("\x1b[32D")
    user.types("\x1b[200~first\nsecond\x1b[201~")
    user.sees("second")
    user.types("\r")
    user.sees("first\r\nsecond\r\n\r\n")


def test_a_line_that_comes_in_one_piece_ends_with_its_newline(user):
    user.sees("\x1b[32D")
    user.types("in one piece\n")
    user.sees("in one piece\r\n\r\n")


def test_every_command_says_what_it_did(user):
    for line, text in SAID:
        user.says(line)
        user.sees(text)
    user.says("/exit")
    assert user.leaves() == 0


def test_what_is_set_is_shown_and_kept_for_the_next_model(user):
    user.says("/set parameter temperature 0.5")
    user.sees("to '0.5'")
    user.says("/set system Be brief.")
    user.says("/show parameters")
    user.sees("User defined parameters:\r\n  temperature                    0.5\r\n\r\n")
    user.says("/show system")
    user.sees("Be brief.\r\n\r\n")
    user.says("/load other:1b")
    user.sees("Loading model 'other:1b'")
    user.says("/set verbose")
    user.sees("Set 'verbose' mode.")
    user.says("still there")
    user.sees("eval rate:")
    user.says("/bye")
    assert user.leaves() == 0


def test_a_model_that_thinks_is_shown_thinking_in_grey(echoing, home):
    with at_terminal("run", "thinker", OLLAMA_HOST=echoing, HOME=str(home), OLLMLX_HOST="") as user:
        user.says("<think>hmm</think>so")
        user.sees("\x1b[38;5;245m\x1b[1mThinking...\r\n\x1b[0m\x1b[38;5;245mhmm\r\n")
        user.sees("\x1b[38;5;245m\x1b[1m...done thinking.\r\n\r\n\x1b[0mso\r\n\r\n")


def test_lines_are_remembered_in_ollamas_file_unless_switched_off(user, home):
    user.says("remember me")
    user.sees("remember me\r\n\r\n")
    user.says("/set nohistory")
    user.says("forget me")
    user.sees("forget me\r\n\r\n")
    user.sees("\x1b[32D")
    assert (home / ".ollama/history").read_text() == "remember me\n/set nohistory\n"
    user.types("\x1b[A")
    user.sees("forget me")


@pytest.mark.parametrize(
    ("wanted", "kept"), [("", True), ("'false'", True), ("0", True), ("1", False), ("x", False)]
)
def test_who_wants_no_history_keeps_none(monkeypatch, home, wanted, kept):
    monkeypatch.setenv("HOME", str(home))
    History.from_environment({"OLLAMA_NOHISTORY": wanted}).store_string("said")
    assert (home / ".ollama/history").exists() is kept


def test_the_history_of_yesterday_is_a_key_away(echoing, home):
    (home / ".ollama").mkdir()
    (home / ".ollama/history").write_text("from yesterday\n")
    with at_terminal("run", "echo", OLLAMA_HOST=echoing, HOME=str(home), OLLMLX_HOST="") as user:
        user.sees("\x1b[32D")
        user.types("\x1b[A")
        user.sees("from yesterday")
        user.types("\r")
        user.sees("from yesterday\r\n\r\n")


def test_ctrl_g_opens_the_editor_on_the_line(echoing, home):
    editor = home / "editor"
    editor.write_text('#!/bin/sh\nprintf "%s and edited\\n" "$(cat "$1")" > "$1"\n')
    editor.chmod(0o755)
    environment = {"OLLAMA_EDITOR": str(editor), "HOME": str(home), "OLLMLX_HOST": ""}
    with at_terminal("run", "echo", OLLAMA_HOST=echoing, **environment) as user:
        user.sees("\x1b[32D")
        user.types("written")
        user.sees("written")
        user.types(CTRL_G)
        user.sees("written and edited")
        user.types("\r")
        user.sees("written and edited\r\n\r\n")


def test_a_missing_editor_is_named(echoing, home):
    environment = {"OLLAMA_EDITOR": "nothing-of-the-kind", "HOME": str(home), "OLLMLX_HOST": ""}
    with at_terminal("run", "echo", OLLAMA_HOST=echoing, **environment) as user:
        user.sees("\x1b[32D")
        user.types(CTRL_G)
        user.sees('error: editor "nothing-of-the-kind" not found, set OLLAMA_EDITOR to the path')


def test_long_lines_break_between_words_on_a_terminal(echoing, home):
    words = " ".join(f"word{number:02}" for number in range(20))
    environment = {"OLLAMA_HOST": echoing, "HOME": os.fspath(home), "OLLMLX_HOST": ""}
    with at_terminal("run", "echo", words, **environment) as user:
        shown = user.sees("word19")
        assert "word12 word\x1b[4D\x1b[K\r\nword13" in shown
        assert user.leaves() == 0


def test_ctrl_c_stops_an_answer_and_the_conversation_goes_on(home):
    with standing_in() as server:
        server.endless = True
        environment = {"OLLAMA_HOST": server.url, "HOME": str(home), "OLLMLX_HOST": ""}
        with at_terminal("run", "m", **environment) as user:
            user.says("go")
            user.sees(" on on")
            user.types(CTRL_C)
            assert server.left.wait(10)
            server.endless = False
            user.says("again")
            user.sees("Good day!\r\n\r\n")
            user.says("/bye")
            assert user.leaves() == 0
        said = [message["content"] for message in server.asked[-1]["messages"]]
        assert said == ["go", "again"]


def test_what_the_server_refuses_ends_no_conversation(home):
    refusals = iter([{"error": "no memory left", "status": 500}])
    with standing_in() as server:
        server.script = lambda request: next(refusals, {})
        environment = {"OLLAMA_HOST": server.url, "HOME": str(home), "OLLMLX_HOST": ""}
        with at_terminal("run", "m", **environment) as user:
            user.says("refused")
            user.sees("error: 500 Internal Server Error: no memory left\r\n")
            user.says("again")
            user.sees("Good day!\r\n\r\n")
        assert [message["content"] for message in server.asked[-1]["messages"]] == ["again"]


def test_an_answer_does_not_steer_the_terminal():
    with standing_in() as server:
        server.words = ["a\x1b]52;c;ZXZpbA==\x07", "b\x1b", "[2J"]
        with at_terminal("run", "m", "hi", OLLAMA_HOST=server.url) as user:
            user.sees("a␛]52;c;ZXZpbA==␇b␛[2J")
