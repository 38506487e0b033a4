"""Command lines as Ollama reads them, and its texts for those it cannot."""

import pytest

from ollmlx.cli import commands, flags
from ollmlx.cli.flags import Misused
from ollmlx.cli.program import run
from ollmlx.errors import OllmlxError

RUN = commands.RUN_FLAGS


@pytest.mark.parametrize(
    ("line", "arguments", "given"),
    [
        ("m --verbose hi there", ["m", "hi", "there"], {"verbose": True}),
        ("m --verbose=false", ["m"], {"verbose": False}),
        ("m --format json hi", ["m", "hi"], {"format": "json"}),
        ("m --format=json hi", ["m", "hi"], {"format": "json"}),
        ("m --think hi", ["m", "hi"], {"think": "true"}),
        ("m --think=low hi", ["m", "hi"], {"think": "low"}),
        ("m --dimensions 0x10", ["m"], {"dimensions": 16}),
        ("m -- --verbose -x", ["m", "--verbose", "-x"], {}),
        ("m -", ["m", "-"], {}),
    ],
)
def test_flags_stand_anywhere_and_two_dashes_end_them(line, arguments, given):
    read = flags.read(line.split(), RUN)
    assert (read.arguments, read.given) == (arguments, given)


@pytest.mark.parametrize("line", ["-f File", "-fFile", "-f=File", "--file File", "--file=File"])
def test_a_flag_with_a_letter_may_be_written_in_five_ways(line):
    assert flags.read(line.split(), commands.CREATE_FLAGS).text("file") == "File"


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("run --x", "unknown flag: --x"),
        ("run m -xv", "unknown shorthand flag: 'x' in -xv"),
        ("run m --format", "flag needs an argument: --format"),
        ("create -f", "flag needs an argument: 'f' in -f"),
        ("run m --=1", "bad flag syntax: --=1"),
        (
            "run m --dimensions x",
            'invalid argument "x" for "--dimensions" flag: strconv.ParseInt: parsing "x": '
            "invalid syntax",
        ),
        (
            "run m --dimensions 9223372036854775808",
            'invalid argument "9223372036854775808" for "--dimensions" flag: strconv.ParseInt: '
            'parsing "9223372036854775808": value out of range',
        ),
        (
            "show m -v=maybe",
            'invalid argument "maybe" for "-v, --verbose" flag: strconv.ParseBool: parsing '
            '"maybe": invalid syntax',
        ),
        ("show", "accepts 1 arg(s), received 0"),
        ("pull", "accepts 1 arg(s), received 0"),
        ("cp a", "accepts 2 arg(s), received 1"),
        ("serve x", "accepts 0 arg(s), received 1"),
        ("rm", "requires at least 1 arg(s), only received 0"),
        ("run", "requires at least 1 arg(s), only received 0"),
        ("foo bar", 'unknown command "foo" for "ollmlx"'),
        ("lst", 'unknown command "lst" for "ollmlx"\n\nDid you mean this?\n\tlist\n\tps\n'),
        ("crate", 'unknown command "crate" for "ollmlx"\n\nDid you mean this?\n\tcreate\n'),
        ("--foo list", "unknown flag: --foo"),
    ],
)
def test_what_cannot_be_read_is_told_in_ollamas_words(line, text):
    with pytest.raises(Misused) as caught:
        run(line.split())
    assert str(caught.value) == text


@pytest.mark.parametrize("command", commands.COMMANDS, ids=lambda command: command.name)
def test_every_command_has_its_function_and_its_help(command, capsys):
    assert callable(command.function)
    run([command.name, "--help"])
    shown = capsys.readouterr().out
    assert shown.startswith(f"{command.help}\n\nUsage:\n  ollmlx {command.name}")
    assert all(f"--{flag.name}" in shown for flag in command.flags)


def test_help_and_no_words_at_all_list_the_commands(capsys):
    run([])
    overview = capsys.readouterr().out
    for words in (["help"], ["-vh"]):
        run(words)
        assert capsys.readouterr().out == overview
    assert "  pull      Pull a model from a registry\n" in overview
    assert "launch" not in overview
    run(["help", "nope"])
    assert capsys.readouterr().err.startswith("Unknown help topic [`nope`]\nUsage:\n")


def test_other_programs_are_not_set_up():
    with pytest.raises(OllmlxError, match="point them at OLLAMA_HOST"):
        run(["launch"])
