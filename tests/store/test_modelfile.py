import string

import pytest

from ollmlx.store.ollama.modelfile import BadModelfile, Command, fill, parse
from ollmlx.wire.native import CreateRequest, Message

WHOLE = '''# a comment
FROM ./model.gguf
from llama3.2:1b
PARAMETER temperature 0.5
Parameter stop <|a|>
PARAMETER stop "<|b|>"
TEMPLATE """{{ .Prompt }}
# no comment here "quoted"
"""
SYSTEM You are "Mario".
ADAPTER ./lora
LICENSE "two
lines"
MESSAGE user hello there
MESSAGE assistant "  hi  "
RENDERER qwen3-coder
PARSER qwen3
REQUIRES 0.14.0
DRAFT ./small.gguf
'''


def test_every_instruction_is_read() -> None:
    assert parse(WHOLE.encode()) == [
        Command("from", "./model.gguf"),
        Command("from", "llama3.2:1b"),
        Command("parameter", "0.5", "temperature"),
        Command("parameter", "<|a|>", "stop"),
        Command("parameter", "<|b|>", "stop"),
        Command("template", '{{ .Prompt }}\n# no comment here "quoted"\n'),
        Command("system", 'You are "Mario".'),
        Command("adapter", "./lora"),
        Command("license", "two\nlines"),
        Command("message", "hello there", "user"),
        Command("message", "  hi  ", "assistant"),
        Command("renderer", "qwen3-coder"),
        Command("parser", "qwen3"),
        Command("requires", "0.14.0"),
        Command("draft", "./small.gguf"),
    ]


def test_what_was_read_is_written_so_that_it_reads_the_same() -> None:
    commands = parse(WHOLE.encode())
    assert parse("\n".join(map(str, commands)).encode()) == commands


@pytest.mark.parametrize(
    "value", ["plain", 'say "x"', '"x"', " a", "b ", 'a\n"b"\n', "\ttab", "a\n\nb", "", '"', 'x"']
)
def test_any_value_survives_a_round_trip(value: str) -> None:
    commands = [Command("from", "m"), Command("system", value), Command("license", "end")]
    assert parse("\n".join(map(str, commands)).encode()) == commands


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be"])
def test_a_byte_order_mark_tells_the_encoding(encoding: str) -> None:
    mark = b"\xfe\xff" if encoding == "utf-16-be" else b""
    data = mark + "FROM m\r\nSYSTEM größe\r\n".encode(encoding)
    assert parse(data)[1] == Command("system", "größe")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no FROM line"),
        ("SYSTEM x\n", "no FROM line"),
        ("FROM m\nBAD x", '(line 2): command must be one of "from", "license", "template", '),
        ("FROM\n", "(line 2): command must be one of"),
        ("FROM m\nSYSTEM", "unexpected EOF"),
        ('FROM m\nSYSTEM "open\nto the end', "unexpected EOF"),
        ('FROM m\nSYSTEM """', "unexpected EOF"),
        ("FROM m\nPARAMETER top-k 1", "unexpected EOF: top"),
        ("FROM m\nMESSAGE wizard hi", '(line 2): message role must be one of "system", "user", '),
    ],
)
def test_what_the_grammar_refuses_is_told_as_ollama_tells_it(text: str, message: str) -> None:
    with pytest.raises(BadModelfile) as error:
        parse(text.encode())
    assert str(error.value).startswith(message)


def test_control_characters_are_dropped() -> None:
    assert parse(b"FROM m\nSYSTEM a\x00\x1bb\tc") == [
        Command("from", "m"),
        Command("system", "ab\tc"),
    ]


def test_instructions_fill_a_request() -> None:
    request = CreateRequest()
    commands = [*parse(WHOLE.encode()), Command("parameter", "1", "low_vram")]
    assert fill(request, commands) == ["low_vram"]
    assert request.parameters == {"temperature": 0.5, "stop": ["<|a|>", "<|b|>"]}
    assert request.messages == [Message("user", "hello there"), Message("assistant", "  hi  ")]
    assert request.license == ["two\nlines"]
    assert (request.renderer, request.parser, request.requires) == (
        "qwen3-coder",
        "qwen3",
        "0.14.0",
    )


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("num_ctx", "many", "invalid int value [many]"),
        ("num_ctx", "9" * 5000, "invalid int value"),
        ("temperature", "warm", "invalid float value [warm]"),
        ("use_mmap", "maybe", "invalid bool value [maybe]"),
        ("volume", "11", "unknown parameter 'volume'"),
    ],
)
def test_a_parameter_of_the_wrong_type_is_refused(key: str, value: str, message: str) -> None:
    with pytest.raises(BadModelfile) as error:
        fill(CreateRequest(), [Command("parameter", value, key)])
    assert str(error.value).startswith(message)


def test_a_version_that_is_none_is_refused() -> None:
    with pytest.raises(BadModelfile, match=r"requires must be a valid semver \(e.g. 0.14.0\)"):
        fill(CreateRequest(), [Command("requires", "newest")])


def test_a_huge_hostile_text_is_read_in_time_proportional_to_it() -> None:
    noise = ("SYSTEM " + string.printable.replace("\n", "").replace("\r", "") + "\n") * 20_000
    assert len(parse(f"FROM m\n{noise}".encode())) == 20_001
    with pytest.raises(BadModelfile, match="unexpected EOF"):
        parse(b'FROM m\nSYSTEM """' + b"line\n" * 20_000)
