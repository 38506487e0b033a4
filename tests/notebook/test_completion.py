"""What Tab offers, in a shell that knows a server."""

import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell

from ollmlx.notebook.arguments import COMMANDS
from ollmlx.notebook.completion import complete


def pressed(shell: InteractiveShell, line: str) -> list[str]:
    """What the shell itself offers at the end of a line."""
    with provisionalcompleter():
        return [offer.text for offer in shell.Completer.completions(line, len(line))]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("", [command.name for command in COMMANDS]),
        ("sh", ["show"]),
        ("show m", ["m:1b"]),
        ("help ser", ["serve"]),
        ("show --m", ["--modelfile"]),
        ("list --out fr", ["frame"]),
        ("quantize m q8", ["q8_0"]),
        ("status x", []),
        ("nothing ", []),
    ],
)
def test_commands_models_and_flags_are_offered(
    shell: InteractiveShell, line: str, offered: list[str]
):
    assert complete("%ollmlx", line, ["frame", "_hidden"])[1] == sorted(offered)


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("m:", ["m:1b"]),
        ("m --num", ["--num-predict"]),
        ("m --format ", ["frame", "json"]),
        ("m --raw m", ["m:1b"]),
        ("m -s ", []),
        ("m --think l", ["low"]),
        ("m --think --ra", ["--raw"]),
        ("m --tools frame,fr", ["frame"]),
    ],
)
def test_a_cell_takes_them_too(shell: InteractiveShell, line: str, offered: list[str]):
    assert complete("%%ollmlx", line, ["frame", "_hidden"])[1] == offered


def test_nothing_else_is_offered_on_a_line_of_ours_and_nothing_of_ours_elsewhere(
    shell: InteractiveShell,
):
    shell.run_line_magic("reload_ext", "ollmlx")
    assert pressed(shell, "%ollmlx sh") == ["show"]
    assert pressed(shell, "%ollmlx show m:1") == ["m:1b"]
    assert "status" not in pressed(shell, "x = sta")
    shell.run_cell("mine = 1")
    assert pressed(shell, "%ollmlx list --out ") == ["mine"]


def test_without_a_server_there_are_no_models(
    shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OLLMLX_HOST", "http://127.0.0.1:1")
    assert complete("%ollmlx", "show m", [])[1] == []
