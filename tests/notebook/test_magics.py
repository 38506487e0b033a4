"""`%ollmlx` and `%%ollmlx` in a shell, against a server that answers from a script."""

import pytest
from IPython.core.interactiveshell import InteractiveShell

from ollmlx.notebook.answer import Answer
from ollmlx.notebook.arguments import cell_help
from ollmlx.notebook.errors import Failed, Interrupted, Misused
from tests.stand_in import StandIn


def ask(shell: InteractiveShell, line: str, cell: str = "Hello?") -> None:
    shell.run_cell_magic("ollmlx", line, cell)


def test_a_cell_streams_its_answer_and_leaves_it_in_a_variable(
    shell: InteractiveShell, server: StandIn, capsys: pytest.CaptureFixture[str]
):
    ask(shell, "m --out mine", "Hello\n")
    assert capsys.readouterr().out == "Good day!\n"
    assert shell.user_ns["mine"] == shell.user_ns["_ollmlx"].text == "Good day!"
    assert server.asked[0]["messages"] == [{"role": "user", "content": "Hello"}]


def test_cells_of_one_model_are_one_conversation(shell: InteractiveShell, server: StandIn):
    for line in ("m", "other", "m", "m --new"):
        ask(shell, line)
    assert [len(request["messages"]) for request in server.asked] == [1, 1, 3, 1]


def test_reset_forgets_a_conversation(shell: InteractiveShell, server: StandIn):
    ask(shell, "m")
    shell.run_line_magic("ollmlx", "reset m")
    ask(shell, "m")
    assert len(server.asked[1]["messages"]) == 1


def test_a_system_message_is_first_and_the_newest_counts(shell: InteractiveShell, server: StandIn):
    ask(shell, "m -s 'be brief'")
    ask(shell, "m -s 'be kind'")
    system = [m["content"] for m in server.asked[1]["messages"] if m["role"] == "system"]
    assert system == ["be kind"]
    assert server.asked[1]["messages"][0]["role"] == "system"


def test_every_option_reaches_the_server(shell: InteractiveShell, server: StandIn):
    ask(
        shell,
        "-m m -t 0 --seed 7 --num-predict 5 -o top_k=3 -o stop=END --format json "
        "--think low --keep-alive 10m",
    )
    request = server.asked[0]
    assert request["options"] == {
        "temperature": 0,
        "seed": 7,
        "num_predict": 5,
        "top_k": 3,
        "stop": ["END"],
    }
    assert (request["format"], request["think"]) == ("json", "low")
    assert request["keep_alive"] == "10m"


def test_a_cell_takes_the_variables_it_names(shell: InteractiveShell, server: StandIn):
    shell.user_ns["town"] = "Oslo"
    ask(shell, "m", "Where is {town}?  Say {{town}}.")
    assert server.asked[0]["messages"][0]["content"] == "Where is Oslo?  Say {town}."


def test_without_a_name_the_model_is_the_loaded_one_then_the_last_used(
    shell: InteractiveShell, server: StandIn
):
    for line in ("", "other", ""):
        ask(shell, line)
    shell.run_line_magic("ollmlx", "use chosen")
    ask(shell, "")
    asked = [request["model"] for request in server.asked if request["path"] == "chat"]
    assert asked == ["m:1b", "other", "other", "chosen"]


def test_a_refused_cell_leaves_no_trace_in_the_conversation(
    shell: InteractiveShell, server: StandIn
):
    with pytest.raises(Failed, match="model 'missing' not found"):
        ask(shell, "missing")
    with pytest.raises(Failed, match="model 'missing' not found"):
        ask(shell, "missing")
    assert len(server.asked[1]["messages"]) == 1
    ask(shell, "")
    assert server.asked[-1]["model"] == "m:1b"  # nor is a wrong name used again


def test_no_server_is_said_without_sending_people_to_a_download(
    shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch
):
    for address in ("http://127.0.0.1:1", "http://me:secret@127.0.0.1:1/t/secret"):
        monkeypatch.setenv("OLLMLX_HOST", address)
        with pytest.raises(Failed, match=r"no server answers at http://127\.0\.0\.1:1") as told:
            ask(shell, "m")
        assert "secret" not in str(told.value)


def test_an_interrupt_keeps_what_had_come(
    shell: InteractiveShell, server: StandIn, monkeypatch: pytest.MonkeyPatch
):
    server.endless = True

    def press_stop(self: object, answer: Answer) -> None:
        if "!" in answer.text:
            raise KeyboardInterrupt

    # A signal would reach pytest itself; test_kernel sends a real one.
    with monkeypatch.context() as patch:
        patch.setattr("ollmlx.notebook.answer.PlainView.show", press_stop)
        patch.setattr("ollmlx.notebook.answer.PlainView.close", lambda *_: None)
        with pytest.raises(Interrupted):
            ask(shell, "m")
    answer = shell.user_ns["_ollmlx"]
    assert answer.text.startswith("Good day!")
    assert answer.done_reason == "interrupted"
    assert server.left.wait(10)
    server.endless = False
    ask(shell, "m", "Go on.")
    assert server.asked[1]["messages"][1]["content"] == answer.text


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("dance", "%ollmlx knows list, ps, status"),
        ("load", "%ollmlx load: the following arguments are required: model"),
        ("bench m --tokens 0", "--tokens is a number from 1 up"),
        ("status now", "%ollmlx status: unrecognized arguments: now"),
        ("use 'x", "No closing quotation"),
    ],
)
def test_a_misspelt_command_is_explained(shell: InteractiveShell, line: str, said: str):
    with pytest.raises(Misused, match=said):
        shell.run_line_magic("ollmlx", line)


def test_out_needs_a_name(shell: InteractiveShell, server: StandIn):
    for name in ("3x", "class"):
        with pytest.raises(Misused, match="--out needs a variable's name"):
            ask(shell, f"m --out {name}")
    assert server.asked == []


def test_the_listings_name_the_models_and_the_server(
    shell: InteractiveShell, server: StandIn, capsys: pytest.CaptureFixture[str]
):
    shell.run_line_magic("ollmlx", "list")
    shell.run_line_magic("ollmlx", "")
    said = capsys.readouterr().out
    assert "m:1b   mlx" in said  # the API's word is that of a file
    assert f"{server.url} (found by: OLLMLX_HOST), 1 loaded" in said
    assert "for ever" in said


def test_load_and_unload_ask_for_no_text(
    shell: InteractiveShell, server: StandIn, capsys: pytest.CaptureFixture[str]
):
    shell.run_line_magic("ollmlx", "load m")
    assert capsys.readouterr().out == "loaded m\n"
    shell.run_line_magic("ollmlx", "stop")
    assert [(r["path"], r["model"], r.get("keep_alive")) for r in server.asked[1:]] == [
        ("generate", "m", None),
        ("generate", "m:1b", 0),
    ]


def test_a_model_that_only_embeds_is_loaded_and_asked_nothing_by_itself(
    shell: InteractiveShell, server: StandIn
):
    server.capabilities = ["embedding"]
    shell.run_line_magic("ollmlx", "load m")
    assert (server.asked[-1]["path"], server.asked[-1]["input"]) == ("embed", [])
    with pytest.raises(Failed, match="the server has no model"):
        ask(shell, "")


def test_the_help_lists_every_option(shell: InteractiveShell):
    help_text = shell.magics_manager.magics["cell"]["ollmlx"].__doc__
    assert help_text == cell_help()
    assert "--num-predict" in help_text
