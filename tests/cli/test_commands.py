"""Commands against the real server with echo models, as pipes see them."""

import io
import json
import sys
from contextlib import closing

import pytest

from ollmlx import __version__
from ollmlx.cli.connection import Connection, Refused, Unreachable, server
from ollmlx.cli.listing import running
from ollmlx.cli.program import main, run
from ollmlx.errors import OllmlxError
from ollmlx.wire.native import OLLAMA_VERSION

pytestmark = pytest.mark.usefixtures("at_echo")


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch):
    """Pipes a text into the command."""
    return lambda text: monkeypatch.setattr(sys, "stdin", io.StringIO(text))


@pytest.fixture(autouse=True)
def _nothing_piped(told):
    told("")


def test_list_shows_those_whose_name_begins_so(capsys):
    run(["ls", "EMB"])
    head, row = capsys.readouterr().out.splitlines()
    assert head == "NAME               ID              SIZE    MODIFIED    "
    assert row.startswith("embedder:latest    000000000000    1 B     ")
    run(["list", "nothing"])
    assert capsys.readouterr().out == "NAME    ID    SIZE    MODIFIED \n"


def test_list_and_show_as_json_are_the_servers_answers(capsys):
    run(["list", "--json", "echo"])
    (model,) = json.loads(capsys.readouterr().out)["models"]
    assert model["name"] == "echo:latest"
    assert model["source"] == "test"
    run(["show", "--json", "echo"])
    shown = json.loads(capsys.readouterr().out)
    assert shown["capabilities"] == ["completion"]
    assert (shown["source"], shown["path"]) == ("test", "-")
    run(["show", "--json", "--system", "other:1b"])
    assert json.loads(capsys.readouterr().out) == {"system": "You are kind."}


def test_where_a_model_lies_is_told_who_asks(capsys):
    run(["list", "--source", "emb"])
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["NAME", "ID", "SIZE", "MODIFIED", "SOURCE"]
    assert row.endswith("    test      ")
    run(["show", "--source", "ECHO"])
    assert capsys.readouterr().out == "test: -\n"
    run(["show", "--source", "--json", "echo:latest"])
    assert json.loads(capsys.readouterr().out) == {"source": "test", "path": "-"}


def test_run_answers_the_pipe_and_the_words_after_it(capsys, told):
    told("from a file\n")
    run(["run", "echo", "and", "words"])
    assert capsys.readouterr().out == "from a file\n and words\n\n"


def test_run_without_a_prompt_only_loads(capsys):
    run(["run", "echo", "--keepalive", "1h"])
    shown = capsys.readouterr()
    assert shown.out == shown.err == ""
    run(["ps"])
    row = capsys.readouterr().out.splitlines()[1]
    assert row.startswith("echo:latest ")
    assert row.endswith("    59 minutes from now    ")


def test_thoughts_are_marked_and_can_be_hidden(capsys):
    run(["run", "thinker", "<think>hmm</think>so"])
    assert capsys.readouterr().out == "Thinking...\nhmm\n...done thinking.\n\nso\n\n"
    run(["run", "thinker", "--hidethinking", "<think>hmm</think>so"])
    assert capsys.readouterr().out == "so\n\n"


def test_figures_come_on_stderr(capsys):
    run(["run", "--verbose", "echo", "one two"])
    shown = capsys.readouterr()
    assert shown.out == "one two\n\n"
    names = [line[:22].rstrip() for line in shown.err.splitlines()]
    assert names[0] == "total duration:"
    assert names[-3:] == ["eval count:", "eval duration:", "eval rate:"]
    assert "token(s)" in shown.err
    assert "tokens/s" in shown.err


def test_a_vector_is_one_line_of_json(capsys):
    run(["run", "embedder", "text"])
    assert len(json.loads(capsys.readouterr().out)) == 3
    with pytest.raises(OllmlxError, match="embedding models require input text"):
        run(["run", "embedder"])


def test_stop_unloads_one_or_all(capsys):
    with closing(Connection(server())) as connection:
        for words in (["echo"], ["--all"]):
            run(["run", "echo"])
            assert [model["name"] for model in running(connection)] == ["echo:latest"]
            run(["stop", *words])
            assert running(connection) == []
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["show", "nope"], "model 'nope:latest' not found"),
        (["stop", "nope"], 'couldn\'t find model "nope" to stop'),
        (["rm", "no*"], "no model matches 'no*'"),
        (["run", "echo", "--format", "foo", "x"], "json: error calling MarshalJSON for type "),
        (["run", "echo", "--keepalive", "5x"], 'time: unknown unit "x" in duration "5x"'),
        (["run", "echo", "--think", "x"], '400 Bad Request: "echo" does not support'),
        (["run", "echo", "--think=x", "x"], 'invalid value for --think: "x" (must be true, false,'),
        (["show", "echo", "--system", "--template"], "only one of '--license', '--modelfile'"),
        (["stop", "--all", "echo"], "accepts a model or --all, not both"),
    ],
)
def test_a_refusal_is_one_line_and_the_status_1(words, text, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["ollmlx", *words])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(f"Error: {text}")


def test_nobody_there_is_told_as_ollama_does(monkeypatch):
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:1")
    with pytest.raises(Unreachable, match="could not connect to ollama server, run 'ollmlx serve'"):
        run(["list"])


def test_a_server_that_wants_to_know_who_asks_is_told_by_its_status():
    assert str(Refused("", 403, streamed=True)) == "403 Forbidden"
    assert str(Refused("why", 404, streamed=True)) == "404 Not Found: why"
    assert str(Refused("why", 404)) == "why"


def test_the_version_is_the_servers_and_ours_where_they_differ(capsys, monkeypatch):
    run(["--version"])
    itself = f"ollmlx itself is {__version__}\n"
    assert capsys.readouterr().out == f"ollmlx version is {OLLAMA_VERSION}\n{itself}"
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:1")
    run(["-v"])
    assert capsys.readouterr().out == (
        "Warning: could not connect to a running Ollama instance\n"
        f"Warning: client version is {OLLAMA_VERSION}\n{itself}"
    )


def test_a_link_named_ollama_says_ollama(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/usr/local/bin/ollama"])
    with pytest.raises(OllmlxError, match='unknown command "foo" for "ollama"'):
        run(["foo"])


def test_a_host_that_does_not_exist_is_named(monkeypatch):
    monkeypatch.setenv("OLLAMA_HOST", "nobody.invalid")
    told = r'^Head "http://nobody.invalid:11434/": dial tcp: lookup nobody.invalid: no such host$'
    with pytest.raises(OllmlxError, match=told):
        run(["list"])


def test_a_path_is_seen_from_where_the_command_is_and_never_pulled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command in ("run", "show"):
        with pytest.raises(OllmlxError, match=f"model '{tmp_path}/typo.gguf' not found"):
            run([command, "./typo.gguf"])


def test_who_has_no_home_is_told_to_set_one(monkeypatch):
    monkeypatch.delenv("HOME")
    # As for a number that a container was given: the machine knows no such user.
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
    with pytest.raises(OllmlxError, match="set HOME"):
        run(["list"])
